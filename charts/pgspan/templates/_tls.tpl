{{/*
All sites as the certificates know them, this one included: with a list of sites its entries, else this release alone.
Usage: {{ range (include "pgspan.sites" . | fromYaml) }}{{ .fullname }}
*/}}
{{- define "pgspan.sites" -}}
{{- $sites := .Values.sites | default (dict "only" dict) -}}
{{- $all := dict -}}
{{- range $name, $site := $sites -}}
{{- $given := $site | default dict -}}
{{- $own := merge (deepCopy $given) (dict
      "fullname" (include "pgspan.safeName" ($.Values.fullnameOverride | default $given.release | default $.Release.Name))
      "namespace" (include "pgspan.namespace" $)
      "clusterDomain" $.Values.clusterDomain
      "host" "" "port" 5432 "keeperPort" 8008) -}}
{{- $_ := set $all $name $own -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/*
Names and addresses of the server's certificate, the same that `kubectl pgspan certs` makes: one certificate for all sites, because a
client with a list of hosts must find each name valid wherever the primary is.
Usage: {{ include "pgspan.serverNames" . | fromYaml }} gives dns and ips
*/}}
{{- define "pgspan.serverNames" -}}
{{- $all := concat (list "localhost" "127.0.0.1" "::1") (.Values.tls.extraNames | default list) -}}
{{- range $site := include "pgspan.sites" . | fromYaml -}}
{{- if $site.host -}}{{- $all = append $all $site.host -}}{{- end -}}
{{- range $service := list "rw" "ro" "r" "cross" "pgpool" "pgbouncer" "members" -}}
{{- $short := printf "%s-%s" $site.fullname $service -}}
{{- $inNamespace := printf "%s.%s" $short $site.namespace -}}
{{- $forms := list $short $inNamespace (printf "%s.svc" $inNamespace) (printf "%s.svc.%s" $inNamespace $site.clusterDomain) -}}
{{- $all = concat $all $forms -}}
{{- if eq $service "members" -}}
{{- range $forms -}}{{- $all = append $all (printf "*.%s" .) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $dns := list -}}
{{- $ips := list -}}
{{- range $all -}}
{{- if include "pgspan.isAddress" . -}}
{{- $ips = append $ips . -}}
{{- else -}}
{{- $dns = append $dns (lower .) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "dns" ($dns | uniq | sortAlpha) "ips" ($ips | uniq | sortAlpha)) -}}
{{- end -}}

{{/* "yes" for an IP address, nothing for a name. Usage: {{ if include "pgspan.isAddress" $host }} */}}
{{- define "pgspan.isAddress" -}}
{{- if or (contains ":" .) (regexMatch "^[0-9]+(\\.[0-9]+){3}$" .) -}}yes{{- end -}}
{{- end -}}

{{/* The pairs of certificate and key, and their common names. Usage: {{ range $pair, $cn := include "pgspan.pairs" . | fromYaml }} */}}
{{- define "pgspan.pairs" -}}
server: pgspan_server
replication: pgspan_replication
keeper: pgspan_keeper
pooler: pgspan_pooler
{{- end -}}

{{/*
The source of /pgspan/tls: ca.crt and the pairs asked for (all if none is named), under our own names, whatever they are called in the Secret.
Usage: {{ include "pgspan.tlsVolume" (dict "context" $) }}, {{ include "pgspan.tlsVolume" (dict "context" $ "pairs" (list "pooler")) }}
*/}}
{{- define "pgspan.tlsVolume" -}}
{{- $v := .context.Values.tls -}}
{{- $fullname := include "pgspan.fullname" .context -}}
{{- $pairs := keys (include "pgspan.pairs" .context | fromYaml) | sortAlpha -}}
{{- if hasKey . "pairs" -}}{{- $pairs = .pairs -}}{{- end -}}
{{- if eq $v.mode "certManager" -}}
projected:
  defaultMode: 0440
  sources:
    - secret: {name: {{ $fullname }}-server-tls, items: [{key: ca.crt, path: ca.crt}]}
    {{- range $pairs }}
    - secret: {name: {{ $fullname }}-{{ . }}-tls, items: [{key: tls.crt, path: {{ . }}.crt}, {key: tls.key, path: {{ . }}.key}]}
    {{- end }}
{{- else -}}
{{- $given := eq $v.mode "secret" -}}
secret:
  secretName: {{ ternary $v.secret.name (printf "%s-tls" $fullname) $given }}
  defaultMode: 0440
  items:
    - {key: {{ ternary $v.secret.keys.ca "ca.crt" $given | quote }}, path: ca.crt}
    {{- range $pairs }}
    - {key: {{ ternary (index $v.secret.keys (printf "%sCert" .)) (printf "%s.crt" .) $given | quote }}, path: {{ . }}.crt}
    - {key: {{ ternary (index $v.secret.keys (printf "%sKey" .)) (printf "%s.key" .) $given | quote }}, path: {{ . }}.key}
    {{- end }}
{{- end -}}
{{- end -}}

{{/*
Mode generated: the CA and what it signs, ECDSA P-256. What is live in the cluster is kept; when the names have changed, the live CA
signs again; only when there is no CA a new one is made. A template cannot read a certificate, so the names' digest stands beside it.
Usage: {{ $tls := include "pgspan.generatedTLS" . | fromYaml }} gives ca {crt,key}, names and files; all base64
*/}}
{{- define "pgspan.generatedTLS" -}}
{{- $fullname := include "pgspan.fullname" . -}}
{{- $namespace := include "pgspan.namespace" . -}}
{{- $liveCA := dig "data" dict (lookup "v1" "Secret" $namespace (printf "%s-ca" $fullname)) -}}
{{- $live := lookup "v1" "Secret" $namespace (printf "%s-tls" $fullname) -}}
{{- $names := include "pgspan.serverNames" . | fromYaml -}}
{{- $digest := $names | toJson | sha256sum | trunc 16 -}}
{{- $ca := dict -}}
{{- if and (index $liveCA "ca.crt") (index $liveCA "ca.key") -}}
{{- $ca = buildCustomCert (index $liveCA "ca.crt") (index $liveCA "ca.key") -}}
{{- else -}}
{{- $ca = genCAWithKey (printf "pgspan CA of %s" $fullname | trunc 64) (.Values.tls.generated.caDays | int) (genPrivateKey "ecdsa") -}}
{{- end -}}
{{- $files := dict "ca.crt" ($ca.Cert | b64enc) -}}
{{- $liveFiles := dig "data" dict $live -}}
{{- $keep := and (eq (index $liveFiles "ca.crt" | default "") ($ca.Cert | b64enc)) (eq (dig "metadata" "annotations" "pgspan.io/names" "" $live) $digest) -}}
{{- if $keep -}}
{{- $files = $liveFiles -}}
{{- else -}}
{{- $days := .Values.tls.generated.days | int -}}
{{- range $pair, $cn := merge (dict "operator" "pgspan_operator") (include "pgspan.pairs" . | fromYaml) -}}
{{- $dns := ternary $names.dns list (eq $pair "server") -}}
{{- $ips := ternary $names.ips list (eq $pair "server") -}}
{{- $cert := genSignedCertWithKey $cn $ips $dns $days $ca (genPrivateKey "ecdsa") -}}
{{- $_ := set $files (printf "%s.crt" $pair) ($cert.Cert | b64enc) -}}
{{- $_ := set $files (printf "%s.key" $pair) ($cert.Key | b64enc) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "ca" (dict "ca.crt" ($ca.Cert | b64enc) "ca.key" ($ca.Key | b64enc)) "names" $digest "files" $files) -}}
{{- end -}}

{{/*
The CA's certificate, base64, as far as it is known while rendering. The CA of the modes secret and certManager is read from the cluster;
nothing when there is none yet. Usage: {{ include "pgspan.liveCA" . }}
*/}}
{{- define "pgspan.liveCA" -}}
{{- $name := .Values.tls.secret.name -}}
{{- $key := .Values.tls.secret.keys.ca -}}
{{- if eq .Values.tls.mode "certManager" -}}
{{- $name = printf "%s-server-tls" (include "pgspan.fullname" .) -}}
{{- $key = "ca.crt" -}}
{{- end -}}
{{- index (dig "data" dict (lookup "v1" "Secret" (include "pgspan.namespace" .) $name)) $key | default "" -}}
{{- end -}}
