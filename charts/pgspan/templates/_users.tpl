{{/*
Where each user's password lies: user → {name, key, generated}. With superuser.tcp postgres is one of them.
Usage: {{ range $user, $secret := include "pgspan.passwordSecrets" . | fromYaml }}
*/}}
{{- define "pgspan.passwordSecrets" -}}
{{- $users := deepCopy .Values.users -}}
{{- if .Values.superuser.tcp -}}
{{- $_ := set $users "postgres" (dict "existingSecret" .Values.superuser.existingSecret "passwordKey" .Values.superuser.passwordKey) -}}
{{- end -}}
{{- $secrets := dict -}}
{{- range $user, $given := $users -}}
{{- $given = $given | default dict -}}
{{- $own := printf "%s-user-%s" (include "pgspan.fullname" $) (include "pgspan.slug" $user) -}}
{{- $key := ternary ($given.passwordKey | default "password") "password" (not (empty $given.existingSecret)) -}}
{{- $_ := set $secrets $user (dict "name" ($given.existingSecret | default $own) "key" $key "generated" (empty $given.existingSecret)) -}}
{{- end -}}
{{- toYaml $secrets -}}
{{- end -}}

{{/*
The database in a user's application Secret: the one named under the user, else one that it owns, else the first, else postgres.
Usage: {{ include "pgspan.userDatabase" (dict "context" $ "user" $name) }}
*/}}
{{- define "pgspan.userDatabase" -}}
{{- $owned := list -}}
{{- range $name, $database := .context.Values.databases -}}
{{- if eq $database.owner $.user -}}{{- $owned = append $owned $name -}}{{- end -}}
{{- end -}}
{{- $any := keys .context.Values.databases | sortAlpha -}}
{{- $named := dig .user "database" "" .context.Values.users -}}
{{- if eq .user "postgres" -}}{{- $named = "postgres" -}}{{- end -}}
{{- $named | default (first $owned) | default (first $any) | default "postgres" -}}
{{- end -}}

{{/*
The data of a user's application Secret, in the layout of the Service Binding specification, as YAML of plain text. With a list of sites
the URIs name all of them, this one first, and the driver finds the primary. Without a password (it lies in a Secret that Helm cannot
read) the keys that need it are left out. Usage: {{ include "pgspan.application" (dict "context" $ "user" $name "password" $password) | fromYaml }}
*/}}
{{- define "pgspan.application" -}}
{{- $c := .context -}}
{{- $host := include "pgspan.host" (dict "context" $c "service" "rw") -}}
{{- $port := $c.Values.service.rw.port | int -}}
{{- $database := include "pgspan.userDatabase" . -}}
{{- $hosts := list (dict "host" $host "port" $port) -}}
{{- if $c.Values.sites -}}
{{- range $name, $site := include "pgspan.sites" $c | fromYaml -}}
{{- if ne $name $c.Values.site -}}{{- $hosts = append $hosts (dict "host" $site.host "port" ($site.port | int)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $addresses := list -}}
{{- $pgpass := list -}}
{{- $user := .user | replace "\\" "\\\\" | replace ":" "\\:" -}}
{{- range $hosts -}}
{{- $bracketed := ternary (printf "[%s]" .host) .host (contains ":" .host) -}}
{{- $addresses = append $addresses (printf "%s:%v" $bracketed .port) -}}
{{- $pgpass = append $pgpass (printf "%s:%v:%s:%s:%s" (.host | replace ":" "\\:") .port $database $user (($.password | default "") | replace "\\" "\\\\" | replace ":" "\\:")) -}}
{{- end -}}
{{- $libpq := ternary "sslmode=require&target_session_attrs=read-write" "sslmode=require" (gt (len $hosts) 1) -}}
{{- $jdbc := ternary "sslmode=require&targetServerType=primary" "sslmode=require" (gt (len $hosts) 1) -}}
{{- $pooler := "" -}}
{{- if $c.Values.pgpool.enabled -}}{{- $pooler = include "pgspan.host" (dict "context" $c "service" "pgpool") -}}{{- end -}}
{{- $data := dict "type" "postgresql" "provider" "pgspan" "host" $host "port" (toString $port) "database" $database "username" .user -}}
{{- if .password -}}
{{- $encoded := include "pgspan.urlencode" .password -}}
{{- $_ := set $data "password" .password -}}
{{- $_ := set $data "uri" (printf "postgresql://%s:%s@%s/%s?%s" (include "pgspan.urlencode" .user) $encoded (join "," $addresses) (include "pgspan.urlencode" $database) $libpq) -}}
{{- $_ := set $data "jdbc-uri" (printf "jdbc:postgresql://%s/%s?user=%s&password=%s&%s" (join "," $addresses) (include "pgspan.urlencode" $database) (include "pgspan.urlencode" .user) $encoded $jdbc) -}}
{{- if $pooler -}}
{{- $_ := set $data "pooler-uri" (printf "postgresql://%s:%s@%s:%v/%s?sslmode=require" (include "pgspan.urlencode" .user) $encoded $pooler $c.Values.service.pgpool.port (include "pgspan.urlencode" $database)) -}}
{{- end -}}
{{- $_ := set $data "pgpass" (printf "%s\n" (join "\n" $pgpass)) -}}
{{- end -}}
{{- toYaml $data -}}
{{- end -}}

{{/* Text as part of a URI; urlquery alone writes a space as "+". Usage: {{ include "pgspan.urlencode" $text }} */}}
{{- define "pgspan.urlencode" -}}
{{- . | urlquery | replace "+" "%20" -}}
{{- end -}}
