{{/*
PostgreSQL's own settings: parameters that availability rests on belong to pgspan, each with its reason.
*/}}
{{- define "pgspan.validate.postgresql" -}}
{{- $pg := .Values.postgresql }}
{{- $major := $pg.version | int }}
{{- if or (lt $major 15) (gt $major 18) }}
postgresql.version is {{ $pg.version }}: 15, 16, 17 and 18 are supported; give the major version only
{{- end }}
{{- if and (eq $major 16) (eq (include "pgspan.ownImage" .) "") }}
postgresql.version is 16, and no image of it is made (of 15, 17 and 18 there are): name one of your own under database.image
{{- end }}
{{- $seen := dict }}
{{- range $parameter := keys $pg.parameters | sortAlpha }}
{{- if hasKey $seen (lower $parameter) }}
postgresql.parameters: {{ get $seen (lower $parameter) }} and {{ $parameter }} are one setting to PostgreSQL: write it once, in small letters
{{- end }}
{{- $_ := set $seen (lower $parameter) $parameter }}
{{- end }}
{{- $reasons := include "pgspan.ownParameters" . | fromYaml }}
{{- $senders := mul 3 (add1 .Values.replicas) | int }}
{{- range $parameter, $value := $pg.parameters }}
{{- $name := lower $parameter }}
{{- if hasKey $reasons $name }}
postgresql.parameters.{{ $parameter }} cannot be set: {{ get $reasons $name }}
{{- else if hasPrefix "recovery_target" $name }}
postgresql.parameters.{{ $parameter }} cannot be set: a member that stops replaying at a point would never follow its primary again
{{- else if and (eq $name "max_slot_wal_keep_size") (hasPrefix "-" (toString $value)) }}
postgresql.parameters.{{ $parameter }} is {{ $value }}: a replica that stays away would fill the primary's disk; give a size
{{- else if and (has $name (list "max_wal_senders" "max_replication_slots")) (lt (include "pgspan.text" $value | int) $senders) }}
postgresql.parameters.{{ $parameter }} is {{ $value }}, but {{ add1 $.Values.replicas }} members need {{ $senders }}, three each: leave it out, or give more
{{- else if and (hasPrefix "ssl_m" $name) (not (has (toString $value) (list "TLSv1.2" "TLSv1.3"))) }}
postgresql.parameters.{{ $parameter }} is {{ $value }}: TLSv1.2 and TLSv1.3 are safe
{{- end }}
{{- end }}
{{- range $pg.hba }}
{{- if regexMatch "(^|\\s)trust(\\s|$)" (regexReplaceAll "#.*$" . "" | replace "\"" " ") }}
postgresql.hba: the line "{{ . }}" lets anybody in without a password: use scram-sha-256, or cert
{{- else if not (regexMatch "^\\s*(#|$)|\\s(reject|md5|password|scram-sha-256|gss|sspi|ident|peer|pam|ldap|radius|cert|oauth)(\\s|#|$)" (replace "\"" "" .)) }}
postgresql.hba: the line "{{ . }}" names no method that PostgreSQL knows, and a server does not start with it: use scram-sha-256, or cert
{{- end }}
{{- end }}
{{- if and (eq $pg.initdb.localeProvider "icu") (not $pg.initdb.icuLocale) }}
postgresql.initdb.localeProvider is icu, but postgresql.initdb.icuLocale is empty: name one, for instance und
{{- end }}
{{- if and $pg.initdb.icuLocale (ne $pg.initdb.localeProvider "icu") }}
postgresql.initdb.icuLocale is given, but postgresql.initdb.localeProvider is "{{ $pg.initdb.localeProvider }}": set it to icu
{{- end }}
{{- if and (eq $pg.initdb.localeProvider "builtin") (lt $major 17) }}
postgresql.initdb.localeProvider is builtin, which came with PostgreSQL 17: use libc with {{ $major }}
{{- end }}
{{- end -}}

{{/* Parameter → why it is not the user's. Usage: {{ include "pgspan.ownParameters" . | fromYaml }} */}}
{{- define "pgspan.ownParameters" -}}
{{- $place := "pgspan places this file itself, so that a base backup cannot carry it to another member" -}}
{{- $tls := "TLS is always on and its files come from tls" -}}
{{- $upstream := "whom a member follows stands in the grant that it gets from keeper" -}}
{{- $damage := "it loses data, or hides damage that is then copied to all members" -}}
{{- $wal := "replication, pg_rewind and a change of version need what pgspan sets" -}}
{{- $archive := "archiving is not configured by parameters" -}}
{{- $include := "files in the image or on the volume would go around these checks; write the parameters here" -}}
{{- range $reason, $names := dict
      $place (list "data_directory" "config_file" "hba_file" "ident_file" "external_pid_file")
      $tls (list "ssl" "ssl_cert_file" "ssl_key_file" "ssl_ca_file" "ssl_crl_file" "ssl_crl_dir" "ssl_passphrase_command")
      $upstream (list "primary_conninfo" "primary_slot_name" "promote_trigger_file" "hot_standby" "recovery_end_command")
      $damage (list "fsync" "full_page_writes" "data_sync_retry" "ignore_checksum_failure" "ignore_invalid_pages" "zero_damaged_pages")
      $wal (list "wal_level" "wal_log_hints")
      $archive (list "archive_mode" "archive_command" "archive_library" "archive_cleanup_command" "restore_command")
      $include (list "include" "include_dir" "include_if_exists")
      "Services, probes and certificates stand on port 5432 of every address" (list "listen_addresses" "port")
      "keeper logs in through a socket that only it and the server mount" (list "unix_socket_directories" "unix_socket_group" "unix_socket_permissions")
      "who must acknowledge is kept in step with the record of who leads" (list "synchronous_standby_names")
      "members are told apart by it" (list "cluster_name")
      "passwords are stored as SCRAM and nothing weaker" (list "password_encryption")
      "the server logs to the container's output, where Kubernetes collects it" (list "logging_collector" "log_directory" "log_filename")
      "guard starts the server again, after it has looked at the grant" (list "restart_after_crash")
      "a slot is given up by its size, which the leader watches, and not by a clock" (list "idle_replication_slot_timeout")
      "write the libraries under postgresql.sharedPreloadLibraries" (list "shared_preload_libraries") }}
{{- range $names }}
{{ . }}: {{ $reason | quote }}
{{- end }}
{{- end }}
{{- end -}}
