// Package postdock is an input layer for those who come from PostDock: the environment variables of its postgres image, read and turned
// into our settings. Names are taken over, unsafe defaults are not: no default passwords, no superuser for replication, no pg_hba.conf
// open to the world, no start as primary because no partner answered. What has no effect here says so in a sentence.
//
// This is the only place where PostDock's words for roles appear.
package postdock

// Env is the environment of PostDock's postgres image. It is read by envconfig with an empty prefix.
type Env struct {
	ClusterName            string `envconfig:"CLUSTER_NAME"`
	NodeID                 string `envconfig:"NODE_ID"`
	NodeName               string `envconfig:"NODE_NAME"`
	NodePriority           string `envconfig:"NODE_PRIORITY"`
	ClusterNodeNetworkName string `envconfig:"CLUSTER_NODE_NETWORK_NAME"`
	PartnerNodes           string `envconfig:"PARTNER_NODES"`

	ReplicationPrimaryHost string `envconfig:"REPLICATION_PRIMARY_HOST"`
	ReplicationPrimaryPort string `envconfig:"REPLICATION_PRIMARY_PORT"`
	ReplicationHost        string `envconfig:"REPLICATION_HOST"` // the old name
	ReplicationPort        string `envconfig:"REPLICATION_PORT"`

	Configs                 string `envconfig:"CONFIGS"`
	ConfigsDelimiterSymbol  string `envconfig:"CONFIGS_DELIMITER_SYMBOL"`
	ConfigsAssignmentSymbol string `envconfig:"CONFIGS_ASSIGNMENT_SYMBOL"`

	UseReplicationSlots string `envconfig:"USE_REPLICATION_SLOTS"`
	CleanOverRewind     string `envconfig:"CLEAN_OVER_REWIND"`

	PostgresDB           string `envconfig:"POSTGRES_DB"`
	PostgresUser         string `envconfig:"POSTGRES_USER"`
	PostgresPassword     Secret `envconfig:"POSTGRES_PASSWORD"`
	PostgresPasswordFile string `envconfig:"POSTGRES_PASSWORD_FILE"`
	DBUsers              Secret `envconfig:"DB_USERS"`

	Ignored Ignored
}

// Secret is a value whose text is never shown.
type Secret string

// String hides the value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// GoString hides it from %#v too.
func (s Secret) GoString() string { return s.String() }

// Ignored are variables that have no effect. The tag why says what takes their place.
type Ignored struct {
	ReplicationDB       string `envconfig:"REPLICATION_DB" why:"there is no repmgr and no database for it"`
	ReplicationUser     string `envconfig:"REPLICATION_USER" why:"replication logs in as pgspan_replication, which is no superuser"`
	ReplicationPassword Secret `envconfig:"REPLICATION_PASSWORD" why:"replication logs in by client certificate"`

	MasterRoleLockFileName  string `envconfig:"MASTER_ROLE_LOCK_FILE_NAME" why:"the record and the notes on the volume say who was primary"`
	StandbyRoleLockFileName string `envconfig:"STANDBY_ROLE_LOCK_FILE_NAME" why:"the record and the notes on the volume say who was primary"`
	MasterSyncLockFile      string `envconfig:"MASTER_SYNC_LOCK_FILE" why:"the journal on the volume says what is under way"`

	WaitPostgresStartTimeout string `envconfig:"REPMGR_WAIT_POSTGRES_START_TIMEOUT" why:"recovery may take as long as it takes; the startup probe asks guard"`
	SlotNamePrefix           string `envconfig:"REPMGR_SLOT_NAME_PREFIX" why:"slots are named after the member"`
	ConnectTimeout           string `envconfig:"CONNECT_TIMEOUT" why:"the lease decides about failover; see lease.duration"`
	ReconnectAttempts        string `envconfig:"RECONNECT_ATTEMPTS" why:"the lease decides about failover; see lease.duration"`
	ReconnectInterval        string `envconfig:"RECONNECT_INTERVAL" why:"the lease decides about failover; see lease.duration"`
	MasterResponseTimeout    string `envconfig:"MASTER_RESPONSE_TIMEOUT" why:"the lease decides about failover; see lease.duration"`
	DegradedMonitoring       string `envconfig:"REPMGR_DEGRADED_MONITORING_TIMEOUT" why:"the lease decides about failover; see lease.duration"`
	RepmgrPIDFile            string `envconfig:"REPMGR_PID_FILE" why:"there is no repmgr"`
	RepmgrMajor              string `envconfig:"REPMGR_MAJOR" why:"there is no repmgr"`
	StoppingLockFile         string `envconfig:"STOPPING_LOCK_FILE" why:"guard stops the server"`
	StoppingTimeout          string `envconfig:"STOPPING_TIMEOUT" why:"use terminationGracePeriodSeconds"`
	RecoveryCheckInterval    string `envconfig:"LAUNCH_RECOVERY_CHECK_INTERVAL" why:"guard watches the server all the time"`
	CheckPgconnectTimeout    string `envconfig:"CHECK_PGCONNECT_TIMEOUT" why:"keeper asks over the Unix socket"`
	LogLevel                 string `envconfig:"LOG_LEVEL" why:"use PGSPAN_LOG_LEVEL"`
	SSHEnable                string `envconfig:"SSH_ENABLE" why:"there is no SSH in these images"`
	ForceReconfigure         string `envconfig:"FORCE_RECONFIGURE" why:"the configuration is derived at every start"`
}
