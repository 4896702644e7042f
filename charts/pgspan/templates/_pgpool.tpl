{{/*
How many pgpools run: as many as there are database members unless said otherwise. Usage: {{ include "pgspan.pgpoolReplicas" . }}
*/}}
{{- define "pgspan.pgpoolReplicas" -}}
{{- $n := .Values.pgpool.replicas -}}
{{- ternary (add1 .Values.replicas) $n (kindIs "invalid" $n) -}}
{{- end -}}

{{/*
pgpool.yaml as the pooler reads it (package pgpool). Backends are the role Services by name; without replicas there is no second one,
since a backend that nobody serves is a backend that is down. Usage: {{ include "pgspan.pgpoolSettings" . }}
*/}}
{{- define "pgspan.pgpoolSettings" -}}
{{- $v := .Values.pgpool -}}
port: 5432
primary: {host: {{ include "pgspan.host" (dict "context" . "service" "rw") }}, port: {{ .Values.service.rw.port }}, weight: {{ $v.weights.primary }}}
{{- if gt (int .Values.replicas) 0 }}
replicas: {host: {{ include "pgspan.host" (dict "context" . "service" "ro") }}, port: {{ .Values.service.ro.port }}, weight: {{ $v.weights.replicas }}}
{{- end }}
children: {{ $v.children }}
poolPerChild: {{ $v.poolPerChild }}
disableLoadBalanceOnWrite: {{ $v.disableLoadBalanceOnWrite | quote }}
statementLevelBalance: {{ $v.statementLevelBalance }}
{{- with $v.primaryRoutingQueries }}
primaryRoutingQueries:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.writeFunctions }}
writeFunctions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $v.cache.enabled }}
cache:
  memcachedHost: {{ $v.cache.memcached.host | quote }}
  memcachedPort: {{ $v.cache.memcached.port }}
  expireSeconds: {{ include "pgspan.text" $v.cache.expireSeconds }}
  {{- with $v.cache.safeTables }}
  safeTables:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $v.cache.unsafeTables }}
  unsafeTables:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $v.parameters }}
parameters:
  {{- range $name, $value := . }}
  {{ $name }}: {{ include "pgspan.text" $value | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What pgpool cannot be asked for. */}}
{{- define "pgspan.validate.pgpool" -}}
{{- $v := .Values.pgpool }}
{{- if $v.enabled }}
{{- $pools := include "pgspan.pgpoolReplicas" . | int }}
{{- $wanted := mul $pools ($v.children | int) ($v.poolPerChild | int) }}
{{- $most := index .Values.postgresql.parameters "max_connections" | default 100 | int }}
{{- $reserved := index .Values.postgresql.parameters "superuser_reserved_connections" | default 3 | int }}
{{- if gt $wanted (sub $most $reserved) }}
pgpool may open {{ $wanted }} connections to one server ({{ $pools }} pgpools x pgpool.children {{ $v.children }} x pgpool.poolPerChild {{ $v.poolPerChild }}), but max_connections {{ $most }} less {{ $reserved }} reserved ones allows {{ sub $most $reserved }}: lower pgpool.replicas, pgpool.children or pgpool.poolPerChild, or raise postgresql.parameters.max_connections
{{- end }}
{{- if and $v.cache.enabled (gt $pools 1) (empty $v.cache.memcached.host) }}
pgpool.cache.enabled with {{ $pools }} pgpools needs pgpool.cache.memcached.host: a cache in the memory of one pgpool is not invalidated by what is written through another; or set pgpool.replicas to 1
{{- end }}
{{- range $name, $value := $v.parameters }}
{{- if regexMatch (include "pgspan.ownPgpoolParameters" $) $name }}
pgpool.parameters.{{ $name }} cannot be set: pgspan does, so that pgpool never fails over by itself, speaks TLS only, and follows the values beside it
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The settings of pgpool that are not the user's, as a regular expression. Usage: {{ regexMatch (include "pgspan.ownPgpoolParameters" .) $name }} */}}
{{- define "pgspan.ownPgpoolParameters" -}}
{{- $beginnings := list "backend_" "ssl" "health_check" "wd_" "include" -}}
{{- $names := list "failover_on_backend_error" "failover_on_backend_shutdown" "failover_command" "failback_command" "follow_primary_command" "auto_failback"
      "detach_false_primary" "use_watchdog" "sr_check_period" "replication_mode" "process_management_mode" "enable_pool_hba" "pool_passwd"
      "allow_clear_text_frontend_auth" "listen_addresses" "port" "unix_socket_directories" "pcp_listen_addresses" "pcp_socket_dir" "pid_file_name" "logdir"
      "log_destination" "logging_collector" "num_init_children" "max_pool" "disable_load_balance_on_write" "statement_level_load_balance"
      "memory_cache_enabled" "memqcache_method" "memqcache_oiddir" "primary_routing_query_pattern_list" "write_function_list" -}}
^(({{ join "|" $beginnings }}).*|{{ join "|" $names }})$
{{- end -}}
