{{/*
The mode of synchronous replication; an unquoted off arrives as false. Usage: {{ include "pgspan.synchronous" . }}
*/}}
{{- define "pgspan.synchronous" -}}
{{- ternary .Values.synchronous.mode "off" (kindIs "string" .Values.synchronous.mode) -}}
{{- end -}}

{{/*
settings.yaml: what the agents are told about the database. Nothing secret. The agents leave out keys that they do not know and say so, so each
key here is one of their package settings. Usage: {{ include "pgspan.settings" . }}
*/}}
{{- define "pgspan.settings" -}}
{{- $pg := .Values.postgresql -}}
{{- $parameters := dict -}}
{{- range $name, $value := $pg.parameters -}}
{{- $_ := set $parameters $name (include "pgspan.text" $value) -}}
{{- end -}}
{{- $initdb := dict -}}
{{- range $key, $value := $pg.initdb -}}
{{- if $value -}}{{- $_ := set $initdb $key (ternary ($value | int) $value (eq $key "walSegmentMB")) -}}{{- end -}}
{{- end -}}
{{- $postgresql := dict "initdb" $initdb -}}
{{- range $key, $value := dict "parameters" $parameters "hba" $pg.hba "ident" $pg.ident "sharedPreloadLibraries" $pg.sharedPreloadLibraries "initSQL" $pg.initSQL "binDir" $pg.binDir "allowCollationChange" $pg.allowCollationChange -}}
{{- if $value -}}{{- $_ := set $postgresql $key $value -}}{{- end -}}
{{- end -}}
{{- $users := dict -}}
{{- range $name, $user := .Values.users -}}
{{- $own := pick ($user | default dict) "options" "memberOf" -}}
{{- if not (kindIs "invalid" ($user | default dict).connectionLimit) -}}{{- $_ := set $own "connectionLimit" ($user.connectionLimit | int) -}}{{- end -}}
{{- $_ := set $users $name $own -}}
{{- end -}}
{{- $passwords := dict -}}
{{- range $user, $secret := include "pgspan.passwordSecrets" . | fromYaml -}}
{{- $_ := set $passwords $user (pick $secret "name" "key") -}}
{{- end -}}
{{- $settings := dict
      "release" (include "pgspan.fullname" .)
      "clusterDomain" .Values.clusterDomain
      "major" ($pg.version | int)
      "port" 5432
      "postgresql" $postgresql
      "members" (dict "primary" 1 "replicas" (.Values.replicas | int))
      "failover" (dict
        "electionWait" .Values.failover.electionWait
        "promoteTimeout" .Values.failover.promoteTimeout
        "maxCrashRecovery" .Values.failover.maxCrashRecovery
        "hangTimeout" .Values.failover.hangTimeout
        "maxLagOnFailover" (include "pgspan.bytes" .Values.failover.maxLagOnFailover | int64)
        "maxAutoDiscard" (include "pgspan.bytes" .Values.failover.maxAutoDiscard | int64)
        "priority" (dict "primary" (.Values.failover.priority.primary | int) "replica" (.Values.failover.priority.replica | int))
        "neverLead" .Values.failover.neverLead)
      "synchronous" (dict "mode" (include "pgspan.synchronous" .) "number" (.Values.synchronous.number | int))
      "volumeSize" (include "pgspan.text" .Values.persistence.size) -}}
{{- with .Values.failover.failBackAfter -}}{{- $_ := set $settings.failover "failBackAfter" . -}}{{- end -}}
{{- range $key, $value := dict "site" .Values.site "databases" .Values.databases "users" $users "passwords" $passwords "superuserTCP" .Values.superuser.tcp -}}
{{- if $value -}}{{- $_ := set $settings $key $value -}}{{- end -}}
{{- end -}}
{{- with .Values.bootstrap.adopt -}}{{- $_ := set $settings "bootstrap" (dict "adopt" .) -}}{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The name of these settings, by which a rollout knows who goes by them already. Usage: {{ include "pgspan.settingsName" . }} */}}
{{- define "pgspan.settingsName" -}}
{{- include "pgspan.settings" . | sha256sum | trunc 16 -}}
{{- end -}}
