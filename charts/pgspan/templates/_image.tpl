{{/*
An image's reference. "of" comes before the version in the tag. Usage: {{ include "pgspan.image" (dict "context" $ "image" .Values.agents.image "of" "") }}
*/}}
{{- define "pgspan.image" -}}
{{- $global := .context.Values.global -}}
{{- $name := printf "%s/%s" (.image.registry | default $global.imageRegistry | default "ghcr.io") .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default (printf "%s%s" .of ($global.imageTag | default .context.Chart.AppVersion))) -}}
{{- end -}}
{{- end -}}

{{/* The agents' image. Usage: {{ include "pgspan.agentsImage" . }} */}}
{{- define "pgspan.agentsImage" -}}
{{- include "pgspan.image" (dict "context" . "image" .Values.agents.image "of" "") -}}
{{- end -}}

{{/* The server's image. Usage: {{ include "pgspan.postgresImage" . }} */}}
{{- define "pgspan.postgresImage" -}}
{{- include "pgspan.image" (dict "context" . "image" .Values.database.image "of" (printf "%v-" .Values.postgresql.version)) -}}
{{- end -}}

{{/* Not empty when the server's image is the user's own. Usage: {{ include "pgspan.ownImage" . }} */}}
{{- define "pgspan.ownImage" -}}
{{- with .Values.database.image -}}{{- or .digest .tag (and (ne .repository "pgspan/postgres") .repository) | default "" -}}{{- end -}}
{{- end -}}
