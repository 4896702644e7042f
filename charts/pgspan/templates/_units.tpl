{{/*
A duration of whole milliseconds, seconds, minutes or hours, in milliseconds. Usage: {{ include "pgspan.milliseconds" "8s" | int }}
*/}}
{{- define "pgspan.milliseconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- mul $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit) -}}
{{- end -}}

{{/*
A Kubernetes quantity of memory or storage in bytes, whole numbers only. Usage: {{ include "pgspan.bytes" "96Mi" | int64 }}
*/}}
{{- define "pgspan.bytes" -}}
{{- $text := include "pgspan.text" . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mul $number (get $units $unit | default 1) -}}
{{- end -}}
