{{/*
What the schema cannot say: values that fit each by itself and cannot work together. All problems are told at once, each with what to write
instead. Usage, once: {{ include "pgspan.validate" . }}
*/}}
{{- define "pgspan.validate" -}}
{{- $lines := list -}}
{{- range list "sites" "tls" "lease" "failover" "synchronous" "postgresql" "users" "pgpool" "pods" "volumes" "service" -}}
{{- range include (printf "pgspan.validate.%s" .) $ | splitList "\n" -}}
{{- if . | trim -}}{{- $lines = append $lines (printf "  - %s" (trim .)) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $lines -}}
{{- fail (printf "\n\nThese values cannot work:\n%s\n" (join "\n" $lines)) -}}
{{- end -}}
{{- end -}}

{{- define "pgspan.validate.sites" -}}
{{- $names := keys .Values.sites | sortAlpha | join ", " }}
{{- if and .Values.sites (not .Values.site) }}
sites are listed ({{ $names }}), but site does not say which one this release is: put "site: <name>" into the values file of this Kubernetes cluster
{{- else if and .Values.site (not .Values.sites) }}
site is "{{ .Values.site }}", but there is no list of sites: name every site once under sites, in a file that all of them share
{{- else if and .Values.site (not (hasKey .Values.sites .Values.site)) }}
site "{{ .Values.site }}" is not in the list of sites ({{ $names }}): add it there, or correct its name
{{- end }}
{{- if and (gt (len .Values.sites) 1) (not .Values.unfinished.sites) }}
sites lists {{ len .Values.sites }} sites, but replication between sites is not built yet, and each would make a database of its own: install one site. unfinished.sites: true renders the manifests all the same, to be read
{{- end }}
{{- if gt (len .Values.sites) 1 }}
{{- range $name, $site := .Values.sites }}
{{- if not $site.host }}
sites.{{ $name }} has no host: give the address under which the other sites reach its Service {{ include "pgspan.fullname" $ }}-cross
{{- end }}
{{- end }}
{{- end }}
{{- if and (gt (len .Values.sites) 1) (not (include "pgspan.crossEnabled" .)) }}
service.cross.enabled is false with several sites, so that no other site could reach this one: leave it out, or set it to true
{{- end }}
{{- end -}}

{{- define "pgspan.validate.tls" -}}
{{- $tls := .Values.tls }}
{{- if and (eq $tls.mode "generated") (gt (len .Values.sites) 1) }}
tls.mode is "generated" with {{ len .Values.sites }} sites, and each would make a CA of its own that the others do not trust: run "kubectl pgspan certs" with these values, apply the Secret at every site, and set tls.mode: secret and tls.secret.name
{{- end }}
{{- if and (eq $tls.mode "secret") (not $tls.secret.name) }}
tls.mode is "secret", but tls.secret.name is empty: make the Secret with "kubectl pgspan certs" and give its name
{{- end }}
{{- if and (ne $tls.mode "secret") $tls.secret.name }}
tls.secret.name is "{{ $tls.secret.name }}", but tls.mode is "{{ $tls.mode }}", which would not use it: set tls.mode: secret
{{- end }}
{{- if and (eq $tls.mode "certManager") (not $tls.certManager.issuerRef.name) (gt (len .Values.sites) 1) }}
tls.certManager.issuerRef.name is empty with {{ len .Values.sites }} sites, and each would make a CA of its own that the others do not trust: name an issuer whose CA all sites share
{{- end }}
{{- if gt (int $tls.generated.days) (int $tls.generated.caDays) }}
tls.generated.days ({{ $tls.generated.days }}) is more than tls.generated.caDays ({{ $tls.generated.caDays }}): a certificate cannot outlive its CA
{{- end }}
{{- if ge (include "pgspan.milliseconds" $tls.certManager.renewBefore | int64) (include "pgspan.milliseconds" $tls.certManager.duration | int64) }}
tls.certManager.renewBefore ({{ $tls.certManager.renewBefore }}) must be shorter than tls.certManager.duration ({{ $tls.certManager.duration }})
{{- end }}
{{- end -}}

{{- define "pgspan.validate.lease" -}}
{{- $lease := .Values.lease }}
{{- $duration := include "pgspan.milliseconds" $lease.duration | int }}
{{- $fence := include "pgspan.milliseconds" $lease.fenceAfter | int }}
{{- $stop := include "pgspan.milliseconds" $lease.stopTime | int }}
{{- $renew := include "pgspan.milliseconds" $lease.renewEvery | int }}
{{- if gt (mul 10 (add $fence $stop)) (mul 8 $duration) }}
lease.fenceAfter ({{ $lease.fenceAfter }}) + lease.stopTime ({{ $lease.stopTime }}) is more than 0.8 of lease.duration ({{ $lease.duration }}), so a new primary could begin before the old one is dead: raise the duration to {{ div (add (mul 10 (add $fence $stop)) 7) 8 }}ms or more, or lower the others
{{- end }}
{{- if gt $renew 1000 }}
lease.renewEvery is {{ $lease.renewEvery }}: a machine paused from outside may acknowledge writes for that long after another took over; 1s is the most
{{- end }}
{{- if or (le $renew 0) (le $stop 0) (le $fence 0) }}
lease: every time must be more than zero
{{- else if lt $fence (mul 3 $renew) }}
lease.fenceAfter ({{ $lease.fenceAfter }}) leaves no room for two missed renewals (lease.renewEvery {{ $lease.renewEvery }}): it must be at least three times as long
{{- end }}
{{- range $key, $least := dict "duration" "2s" "fenceAfter" "1s" "stopTime" "100ms" "renewEvery" "100ms" }}
{{- $given := include "pgspan.milliseconds" (index $lease $key) | int }}
{{- if and (gt $given 0) (lt $given (include "pgspan.milliseconds" $least | int)) }}
lease.{{ $key }} is {{ index $lease $key }}: it must be at least {{ $least }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pgspan.validate.synchronous" -}}
{{- $mode := include "pgspan.synchronous" . }}
{{- if and (ne $mode "off") (gt (.Values.synchronous.number | int) (.Values.replicas | int)) }}
synchronous.mode is {{ $mode }} and commits would wait for {{ .Values.synchronous.number }} of {{ .Values.replicas }} replicas: lower synchronous.number, or raise replicas
{{- end }}
{{- end -}}

{{- define "pgspan.validate.failover" -}}
{{- $f := .Values.failover }}
{{- if and $f.neverLead.primary $f.neverLead.replica }}
failover.neverLead bars both sets, so nobody could ever lead: bar one at most
{{- end }}
{{- if and $f.neverLead.primary (eq (.Values.replicas | int) 0) }}
failover.neverLead.primary is set and replicas is 0, so nobody could ever lead: leave it false
{{- end }}
{{- if gt (include "pgspan.milliseconds" $f.electionWait | int) 3600000 }}
failover.electionWait is {{ $f.electionWait }}: 1h is the most
{{- end }}
{{- $least := max 15000 (mul 3 (include "pgspan.milliseconds" .Values.lease.duration | int)) }}
{{- if lt (include "pgspan.milliseconds" $f.promoteTimeout | int) ($least | int) }}
failover.promoteTimeout is {{ $f.promoteTimeout }}: within that time a slow promotion and none look the same with lease.duration {{ .Values.lease.duration }}; it must be at least {{ $least }}ms
{{- end }}
{{- if lt (include "pgspan.milliseconds" $f.hangTimeout | int) 10000 }}
failover.hangTimeout is {{ $f.hangTimeout }}: a server on a slow machine would count as hung; 10s is the least
{{- end }}
{{- range $key := list "promoteTimeout" "maxCrashRecovery" "hangTimeout" }}
{{- if gt (include "pgspan.milliseconds" (index $f $key) | int) 86400000 }}
failover.{{ $key }} is {{ index $f $key }}: 24h (1440m) is the most
{{- end }}
{{- end }}
{{- end -}}

{{- define "pgspan.validate.users" -}}
{{- $slugs := dict }}
{{- range $name, $user := .Values.users }}
{{- $user = $user | default dict }}
{{- if or (eq $name "postgres") (hasPrefix "pg_" $name) (hasPrefix "pgspan_" $name) }}
users.{{ $name }}: the name is taken by {{ ternary "pgspan" "PostgreSQL" (hasPrefix "pgspan_" $name) }}; choose another{{ ternary " (the superuser over TCP is superuser.tcp)" "" (eq $name "postgres") }}
{{- end }}
{{- range $user.options }}
{{- if regexMatch "^(?i)(SUPERUSER|REPLICATION|BYPASSRLS)$" . }}
users.{{ $name }}.options: {{ . | upper }} would let an application go around what keeps the data safe; grant a predefined role such as pg_read_all_data by memberOf instead
{{- end }}
{{- end }}
{{- if and $user.passwordKey (not $user.existingSecret) }}
users.{{ $name }}.passwordKey is given without existingSecret: name the Secret, or leave both out for a generated password
{{- end }}
{{- if and $user.database (not (hasKey $.Values.databases $user.database)) (ne $user.database "postgres") }}
users.{{ $name }}.database is "{{ $user.database }}", which is not among databases: add it there
{{- end }}
{{- $slug := include "pgspan.slug" $name }}
{{- if hasKey $slugs $slug }}
users {{ get $slugs $slug }} and {{ $name }} would share the Secret {{ include "pgspan.fullname" $ }}-user-{{ $slug }}: rename one of them
{{- end }}
{{- $_ := set $slugs $slug $name }}
{{- end }}
{{- range $name, $database := .Values.databases }}
{{- if has $name (list "postgres" "template0" "template1") }}
databases.{{ $name }} belongs to PostgreSQL itself: choose another name
{{- end }}
{{- if not (hasKey $.Values.users $database.owner) }}
databases.{{ $name }}.owner is "{{ $database.owner }}", which is not among users: add it there ("{{ $database.owner }}: {}" is enough), or leave the database out ("{{ $name }}: null" under databases)
{{- end }}
{{- end }}
{{- if .Values.pgpool.enabled }}
{{- range $user, $secret := include "pgspan.passwordSecrets" . | fromYaml }}
{{- $password := index (dig "data" dict (lookup "v1" "Secret" (include "pgspan.namespace" $) $secret.name)) $secret.key | default "" | b64dec | trimSuffix "\n" }}
{{- if or (gt (len $password) 124) (regexMatch "[\r\n]" $password) }}
the password of {{ $user }} (Secret {{ $secret.name }}, key {{ $secret.key }}) has {{ ternary "a line break" "more than 124 bytes" (regexMatch "[\r\n]" $password) }}, and pgpool cannot pass on such a one: choose another, or set pgpool.enabled: false
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.superuser.existingSecret (not .Values.superuser.tcp) }}
superuser.existingSecret is given, but superuser.tcp is false, so nothing would use it: set superuser.tcp: true, or leave it out
{{- end }}
{{- end -}}

{{- define "pgspan.validate.pods" -}}
{{- $told := dict }}
{{- range $set := list "primary" "replica" }}
{{- $values := include "pgspan.setValues" (dict "context" $ "bornAs" $set) | fromYaml }}
{{- $limit := include "pgspan.text" (dig "limits" "memory" "" ($values.resources | default dict)) }}
{{- if and $limit (not (hasKey $told $limit)) }}
{{- $_ := set $told $limit true }}
{{- $free := sub (include "pgspan.bytes" $limit | int64) (include "pgspan.bytes" $values.sharedMemory | int64) }}
{{- if le $free 0 }}
database.sharedMemory ({{ $values.sharedMemory }}) is not less than the memory limit ({{ $limit }}), which it counts into: lower it, or raise database.resources.limits.memory, and that of the set {{ $set }} if it has its own
{{- end }}
{{- range $parameter, $value := $.Values.postgresql.parameters }}
{{- if and (eq (lower $parameter) "shared_buffers") (regexMatch "^[0-9]+(kB|MB|GB|TB)$" (toString $value)) }}
{{- if ge (include "pgspan.bytes" (toString $value | trimSuffix "B" | upper | printf "%si") | int64) (include "pgspan.bytes" $limit | int64) }}
postgresql.parameters.{{ $parameter }} is {{ $value }}, but the servers of the set {{ $set }} have a memory limit of {{ $limit }} for everything: leave it out, and it is a quarter of the limit
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
serviceAccount.create is false and serviceAccount.name is empty, so no pod could be made: give the name of an account that is there, or let the chart make one
{{- end }}
{{- range $component := list "database" "pgpool" }}
{{- $values := index $.Values $component }}
{{- $uid := dig "runAsUser" "" ($values.podSecurityContext | default dict) | toString }}
{{- if eq $uid "0" }}
{{ $component }}.podSecurityContext.runAsUser is 0: PostgreSQL refuses to run as root; take any other uid
{{- end }}
{{- end }}
{{- end -}}

{{- define "pgspan.validate.volumes" -}}
{{- if lt (include "pgspan.bytes" .Values.persistence.size | int64) 134217728 }}
persistence.size is {{ include "pgspan.text" .Values.persistence.size }}, which is {{ include "pgspan.bytes" .Values.persistence.size }} bytes: a server needs 128Mi at the least; give a size such as 10Gi
{{- end }}
{{- if has "ReadWriteMany" .Values.persistence.accessModes }}
persistence.accessModes contains ReadWriteMany: two nodes that write one volume destroy it; take ReadWriteOncePod, or ReadWriteOnce where the driver knows no better
{{- end }}
{{- range $set := list "primary" "replica" }}
{{- $live := include "pgspan.templateSize" (dict "context" $ "bornAs" $set) }}
{{- if gt (include "pgspan.bytes" $live | int64) (include "pgspan.bytes" $.Values.persistence.size | int64) }}
persistence.size is {{ include "pgspan.text" $.Values.persistence.size }}, but the volumes of {{ include "pgspan.fullname" $ }}-{{ $set }} were made with {{ $live }}: Kubernetes cannot shrink a volume; set it to that or more
{{- end }}
{{- $values := include "pgspan.setValues" (dict "context" $ "bornAs" $set) | fromYaml }}
{{- range dig "spec" "volumeClaimTemplates" list (lookup "apps/v1" "StatefulSet" (include "pgspan.namespace" $) (printf "%s-%s" (include "pgspan.fullname" $) $set)) }}
{{- $modes := $.Values.persistence.accessModes }}
{{- if ne (join ", " .spec.accessModes) (join ", " $modes) }}
persistence.accessModes is {{ join ", " $modes }}, but the volumes of {{ include "pgspan.fullname" $ }}-{{ $set }} were made with {{ join ", " .spec.accessModes }}, which Kubernetes cannot change: set it back; or, if they were never bound and hold nothing, uninstall, delete these claims (kubectl delete pvc -l pgspan.io/cluster={{ include "pgspan.fullname" $ }}) and install again
{{- end }}
{{- $class := .spec.storageClassName | default "" }}
{{- if ne $class ($values.storageClass | default "") }}
persistence.storageClass is "{{ $values.storageClass }}", but the volumes of {{ include "pgspan.fullname" $ }}-{{ $set }} were made with "{{ $class }}", which Kubernetes cannot change: set it back; or, if they were never bound and hold nothing, uninstall, delete these claims (kubectl delete pvc -l pgspan.io/cluster={{ include "pgspan.fullname" $ }}) and install again
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "pgspan.validate.service" -}}
{{- $service := .Values.service }}
{{- if and (eq $service.ipFamilyPolicy "SingleStack") (gt (len $service.ipFamilies) 1) }}
service.ipFamilies names two families, but service.ipFamilyPolicy is SingleStack: set it to PreferDualStack, or name one
{{- end }}
{{- range $name := list "rw" "ro" "r" "pgpool" "cross" }}
{{- $one := index $service $name }}
{{- if and $one.loadBalancerIP (gt (len $service.ipFamilies) 1) }}
service.{{ $name }}.loadBalancerIP is one address, but service.ipFamilies names two families: Kubernetes refuses that; set the addresses by the load balancer's own annotation
{{- end }}
{{- range $key := list "nodePort" "loadBalancerClass" "loadBalancerIP" "loadBalancerSourceRanges" }}
{{- if and (index $one $key) (ne $one.type "LoadBalancer") (not (and (eq $key "nodePort") (eq $one.type "NodePort"))) }}
service.{{ $name }}.{{ $key }} is given, but service.{{ $name }}.type is {{ $one.type }}, which does not use it: set the type to LoadBalancer, or leave it out
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
