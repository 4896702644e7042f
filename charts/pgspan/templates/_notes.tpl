{{/* Colours for NOTES.txt. Usage: {{ include "pgspan.warn" "text" }} yellow: know this; {{ include "pgspan.alarm" "text" }} red: change this */}}
{{- define "pgspan.warn" -}}{{ printf "\x1b[33m%s\x1b[0m" . }}{{- end -}}
{{- define "pgspan.alarm" -}}{{ printf "\x1b[31m%s\x1b[0m" . }}{{- end -}}
