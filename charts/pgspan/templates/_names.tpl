{{/* Names. Everything of a release begins with pgspan.fullname, so that two releases in one namespace share nothing. */}}

{{/* The application's name, for labels. Usage: {{ include "pgspan.name" . }} */}}
{{- define "pgspan.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
The full name: the release's, so that Services are called <release>-rw as in all texts. At most 40 characters, because Kubernetes makes the
label <set>-<hash> of a StatefulSet's name and allows 63. A longer name is cut and gets a digest of the whole, so that two long releases
stay two. A Service may neither begin with a digit nor hold a dot; a release may do both. Usage: {{ include "pgspan.fullname" . }}
*/}}
{{- define "pgspan.fullname" -}}
{{- include "pgspan.safeName" (.Values.fullnameOverride | default .Release.Name) -}}
{{- end -}}

{{/* The rule of pgspan.fullname on any release's name. `kubectl pgspan certs` has the same. Usage: {{ include "pgspan.safeName" $release }} */}}
{{- define "pgspan.safeName" -}}
{{- $safe := . | lower | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $safe -}}{{- $safe = printf "pg-%s" $safe -}}{{- end -}}
{{- if gt (len $safe) 40 -}}
{{- printf "%s-%s" ($safe | trunc 31 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- else -}}
{{- $safe | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The namespace of all objects. Usage: {{ include "pgspan.namespace" . }} */}}
{{- define "pgspan.namespace" -}}
{{- .Values.namespaceOverride | default .Release.Namespace -}}
{{- end -}}

{{/* The ServiceAccount's name. Usage: {{ include "pgspan.serviceAccount" . }} */}}
{{- define "pgspan.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "pgspan.fullname" .) -}}
{{- end -}}

{{/*
A Service's name as a client inside the Kubernetes cluster writes it.
Usage: {{ include "pgspan.host" (dict "context" $ "service" "rw") }}
*/}}
{{- define "pgspan.host" -}}
{{- printf "%s-%s.%s.svc.%s" (include "pgspan.fullname" .context) .service (include "pgspan.namespace" .context) .context.Values.clusterDomain -}}
{{- end -}}

{{/* A PostgreSQL role's name as part of an object's name. Usage: {{ include "pgspan.slug" $user }} */}}
{{- define "pgspan.slug" -}}
{{- . | lower | replace "_" "-" -}}
{{- end -}}
