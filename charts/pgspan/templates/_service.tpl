{{/*
A Service. What leads out of the Kubernetes cluster is said once, for all of them.
Usage: {{ include "pgspan.service" (dict "context" $ "name" "ro" "selector" $labels "component" "database" "keeper" false) }}
*/}}
{{- define "pgspan.service" -}}
{{- $v := index .context.Values.service .name -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "pgspan.metadata" (dict "context" .context "component" (.component | default "database") "suffix" (printf "-%s" .name) "annotations" $v.annotations) | nindent 2 }}
spec:
  type: {{ $v.type }}
  {{- if ne $v.type "ClusterIP" }}
  externalTrafficPolicy: {{ $v.externalTrafficPolicy }}
  {{- end }}
  {{- if eq $v.type "LoadBalancer" }}
  {{- with $v.loadBalancerClass }}
  loadBalancerClass: {{ . }}
  {{- end }}
  {{- with $v.loadBalancerIP }}
  loadBalancerIP: {{ . | quote }}
  {{- end }}
  {{- with $v.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- include "pgspan.ipFamilies" .context | nindent 2 }}
  {{- with .selector }}
  selector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: postgresql
      port: {{ $v.port }}
      targetPort: 5432
      {{- if and $v.nodePort (ne $v.type "ClusterIP") }}
      nodePort: {{ $v.nodePort }}
      {{- end }}
    {{- if .keeper }}
    - name: keeper
      port: {{ $v.keeperPort }}
      targetPort: 8008
      {{- if and $v.keeperNodePort (ne $v.type "ClusterIP") }}
      nodePort: {{ $v.keeperNodePort }}
      {{- end }}
    {{- end }}
{{- end -}}

{{/* Address families, the same for all Services. Usage: {{ include "pgspan.ipFamilies" $ }} */}}
{{- define "pgspan.ipFamilies" -}}
ipFamilyPolicy: {{ .Values.service.ipFamilyPolicy }}
{{- with .Values.service.ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "yes" when the way in from other sites is to be made. Usage: {{ if include "pgspan.crossEnabled" . }} */}}
{{- define "pgspan.crossEnabled" -}}
{{- $asked := .Values.service.cross.enabled -}}
{{- if ternary (not (empty .Values.sites)) $asked (kindIs "invalid" $asked) -}}yes{{- end -}}
{{- end -}}
