{{/*
An image's reference. Usage: {{ include "pgspan.image" (dict "context" $ "image" .Values.agents.image "tag" .Chart.AppVersion) }}
*/}}
{{- define "pgspan.image" -}}
{{- $registry := .context.Values.global.imageRegistry | default .image.registry -}}
{{- $name := .image.repository -}}
{{- if $registry -}}{{- $name = printf "%s/%s" $registry .image.repository -}}{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .tag) -}}
{{- end -}}
{{- end -}}

{{/* The agents' image. Usage: {{ include "pgspan.agentsImage" . }} */}}
{{- define "pgspan.agentsImage" -}}
{{- include "pgspan.image" (dict "context" . "image" .Values.agents.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* The server's image. Usage: {{ include "pgspan.postgresImage" . }} */}}
{{- define "pgspan.postgresImage" -}}
{{- $tag := printf "%v-%s" .Values.postgresql.version .Chart.AppVersion -}}
{{- include "pgspan.image" (dict "context" . "image" .Values.database.image "tag" $tag) -}}
{{- end -}}
