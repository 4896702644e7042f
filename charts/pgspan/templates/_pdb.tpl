{{/*
A budget over all pods of a component. None with a single pod: it would refuse every eviction, and a drain would wait for ever. A pod that
is not ready is no loss and may always be evicted, or a broken one would hold up the drain of its node.
Usage: {{ include "pgspan.pdb" (dict "context" $ "component" "pgpool" "pods" 3 "pdb" .Values.pgpool.pdb) }}
*/}}
{{- define "pgspan.pdb" -}}
{{- if and .pdb.enabled (gt (int .pods) 1) }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "pgspan.metadata" (dict "context" .context "component" .component "suffix" (printf "-%s" .component)) | nindent 2 }}
spec:
  maxUnavailable: {{ .pdb.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "pgspan.selector" . | nindent 6 }}
{{- end }}
{{- end -}}
