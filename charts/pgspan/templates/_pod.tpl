{{/*
What every pod of ours has in common, from the component's values: who it is for Kubernetes, where it runs, what it may do.
Usage: {{ include "pgspan.pod" (dict "context" $ "component" "database" "values" $values) }}
*/}}
{{- define "pgspan.pod" -}}
automountServiceAccountToken: false
{{- /* Variables such as PGSPAN_RW_PORT, made by Kubernetes from Services, would be taken for settings of the agents. */}}
enableServiceLinks: false
{{- with .context.Values.global.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | toYaml }}
  {{- end }}
{{- end }}
{{- with .values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | toYaml }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "pgspan.affinity" . }}
{{- include "pgspan.spread" . }}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
{{- end -}}

{{/* The affinity: the user's own, or members kept apart. Usage: as pgspan.pod */}}
{{- define "pgspan.affinity" -}}
{{- $selector := include "pgspan.selector" . }}
{{- if .values.affinity }}
affinity:
  {{- tpl (toYaml .values.affinity) .context | nindent 2 }}
{{- else if eq .values.antiAffinity "hard" }}
affinity:
  podAntiAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- $selector | nindent 12 }}
{{- else if eq .values.antiAffinity "soft" }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- range $key, $weight := dict "kubernetes.io/hostname" 100 "topology.kubernetes.io/zone" 50 }}
      - weight: {{ $weight }}
        podAffinityTerm:
          topologyKey: {{ $key }}
          labelSelector:
            matchLabels:
              {{- $selector | nindent 14 }}
      {{- end }}
{{- end }}
{{- end -}}

{{/* Topology spread constraints, each with the component's own selector unless it brings one. Usage: as pgspan.pod */}}
{{- define "pgspan.spread" -}}
{{- $selector := include "pgspan.selector" . | fromYaml -}}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $own := dict "labelSelector" (dict "matchLabels" $selector) }}
  - {{- toYaml (merge (deepCopy .) $own) | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
Environment from a map: a plain value, or an object such as {valueFrom: …}. Usage: {{ include "pgspan.env" $map }}
*/}}
{{- define "pgspan.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else }}
  value: {{ ternary (toString $value) (include "pgspan.text" $value) (kindIs "bool" $value) | quote }}
  {{- end }}
{{- end }}
{{- end -}}

{{/*
The database's pod values for a pod that stands beside it: the same security, nodes and tolerations, but not what keeps members apart.
Usage: {{ include "pgspan.besideDatabase" . | fromYaml }}
*/}}
{{- define "pgspan.besideDatabase" -}}
{{- $own := dict "antiAffinity" "none" "terminationGracePeriodSeconds" 5 -}}
{{- merge $own (omit .Values.database "affinity" "topologySpreadConstraints") | toYaml -}}
{{- end -}}

{{/*
A value as text. Helm reads every YAML number as a float, and would print ten million as 1e+07.
Usage: {{ include "pgspan.text" $value }}
*/}}
{{- define "pgspan.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%.0f" . -}}
{{- else if kindIs "bool" . -}}
{{- ternary "on" "off" . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* A list of the user's, templates in it rendered. Usage: {{ include "pgspan.extra" (dict "context" $ "list" $list) }} */}}
{{- define "pgspan.extra" -}}
{{- with .list }}
{{- tpl (toYaml .) $.context }}
{{- end }}
{{- end -}}
