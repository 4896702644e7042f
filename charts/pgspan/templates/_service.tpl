{{/*
A Service inside the Kubernetes cluster.
Usage: {{ include "pgspan.service" (dict "context" $ "name" "ro" "selector" $labels "component" "database" "headless" false "keeper" false) }}
*/}}
{{- define "pgspan.service" -}}
{{- $v := .context.Values.service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "pgspan.metadata" (dict "context" .context "component" (.component | default "database") "suffix" (printf "-%s" .name) "annotations" (index $v .name).annotations) | nindent 2 }}
spec:
  type: ClusterIP
  {{- if .headless }}
  clusterIP: None
  publishNotReadyAddresses: true
  {{- end }}
  {{- include "pgspan.ipFamilies" .context | nindent 2 }}
  {{- with .selector }}
  selector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - {name: postgresql, port: 5432, targetPort: 5432}
    {{- if .keeper }}
    - {name: keeper, port: 8008, targetPort: 8008}
    {{- end }}
{{- end -}}

{{- define "pgspan.ipFamilies" -}}
ipFamilyPolicy: {{ .Values.service.ipFamilyPolicy }}
{{- with .Values.service.ipFamilies }}
ipFamilies:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* "yes" when the LoadBalancer Service is to be made. Usage: {{ if include "pgspan.crossEnabled" . }} */}}
{{- define "pgspan.crossEnabled" -}}
{{- $asked := .Values.service.cross.enabled -}}
{{- if ternary (not (empty .Values.sites)) $asked (kindIs "invalid" $asked) -}}yes{{- end -}}
{{- end -}}

{{/*
cross: the way in from other sites, to the site's leader, which is the primary or what the other members of this site stream from. It has
a selector, unlike rw, because cloud load balancers look for pods. Usage: {{ include "pgspan.crossService" . }}
*/}}
{{- define "pgspan.crossService" -}}
{{- $v := .Values.service.cross -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "pgspan.metadata" (dict "context" . "component" "database" "suffix" "-cross" "annotations" $v.annotations) | nindent 2 }}
spec:
  type: LoadBalancer
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
  externalTrafficPolicy: {{ $v.externalTrafficPolicy }}
  {{- include "pgspan.ipFamilies" . | nindent 2 }}
  selector:
    {{- include "pgspan.selector" (dict "context" . "component" "database") | nindent 4 }}
    pgspan.io/leader: "true"
  ports:
    - name: postgresql
      port: {{ $v.port }}
      targetPort: 5432
      {{- with $v.nodePort }}
      nodePort: {{ . }}
      {{- end }}
    - name: keeper
      port: {{ $v.keeperPort }}
      targetPort: 8008
      {{- with $v.keeperNodePort }}
      nodePort: {{ . }}
      {{- end }}
{{- end -}}
