{{/*
A StatefulSet of database members. The set says how its pods were born and what resources they have, never what they are: that is the
label pgspan.io/role. Usage: {{ include "pgspan.database" (dict "context" $ "bornAs" "primary" "replicas" 1) }}
*/}}
{{- define "pgspan.database" -}}
{{- $c := .context -}}
{{- $bornAs := dict "pgspan.io/born-as" .bornAs -}}
{{- $selector := merge (include "pgspan.selector" (dict "context" $c "component" "database") | fromYaml) $bornAs -}}
{{- $values := include "pgspan.setValues" . | fromYaml -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "pgspan.metadata" (dict "context" $c "component" "database" "suffix" (printf "-%s" .bornAs) "labels" $bornAs) | nindent 2 }}
spec:
  replicas: {{ .replicas }}
  serviceName: {{ include "pgspan.fullname" $c }}-members
  # Waiting for pod 0 before pod 1 exists would wait for ever when the data that leads is on pod 1.
  podManagementPolicy: Parallel
  # Two sets that roll by themselves would restart the primary and the last replica in the same second, blind to roles.
  updateStrategy:
    type: OnDelete
  # A volume is a member: it outlives scaling and uninstalling.
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: Retain
    whenScaled: Retain
  selector:
    matchLabels:
      {{- toYaml $selector | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "pgspan.podLabels" (dict "context" $c "component" "database" "extra" (merge (deepCopy $bornAs) $values.podLabels)) | nindent 8 }}
      annotations:
        kubectl.kubernetes.io/default-container: postgres
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "pgspan.serviceAccount" $c | toYaml }}
      {{- include "pgspan.pod" (dict "context" $c "component" "database" "values" $values) | nindent 6 }}
      initContainers:
        {{- with include "pgspan.extra" (dict "context" $c "list" $values.extraInitContainers) | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- include "pgspan.container.agents" (dict "context" $c "values" $values) | nindent 8 }}
        {{- include "pgspan.container.keeper" (dict "context" $c "values" $values "bornAs" .bornAs) | nindent 8 }}
        {{- include "pgspan.container.seed" (dict "context" $c "values" $values "bornAs" .bornAs) | nindent 8 }}
      containers:
        {{- include "pgspan.container.postgres" (dict "context" $c "values" $values "bornAs" .bornAs) | nindent 8 }}
        {{- with include "pgspan.extra" (dict "context" $c "list" $values.extraContainers) | trim }}
        {{- . | nindent 8 }}
        {{- end }}
      volumes:
        {{- include "pgspan.volumes" (dict "context" $c "values" $values) | trim | nindent 8 }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
        labels:
          {{- toYaml $selector | nindent 10 }}
          pgspan.io/cluster: {{ include "pgspan.fullname" $c | toYaml }}
        {{- with $c.Values.persistence.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes:
          {{- toYaml $c.Values.persistence.accessModes | nindent 10 }}
        {{- with $values.storageClass }}
        storageClassName: {{ . | toYaml }}
        {{- end }}
        {{- with $c.Values.persistence.selector }}
        selector:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        resources:
          requests:
            storage: {{ include "pgspan.templateSize" . }}
{{- end -}}

{{/*
The values of one set: those of "database", with each key that the set itself gives in its place. Nothing is merged.
Usage: {{ include "pgspan.setValues" (dict "context" $ "bornAs" "primary") | fromYaml }}
*/}}
{{- define "pgspan.setValues" -}}
{{- $values := deepCopy .context.Values.database -}}
{{- $_ := set $values "storageClass" .context.Values.persistence.storageClass -}}
{{- range $key, $value := index .context.Values .bornAs -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $values $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $values -}}
{{- end -}}

{{/*
The size in a set's template. Kubernetes does not let it change, and an upgrade that tried would fail: a set that is live keeps what it
was made with, and where no live set can be seen a value says what that was. The leader's keeper lets the volumes grow to the size in the
settings. Usage: {{ include "pgspan.templateSize" (dict "context" $ "bornAs" "primary") }}
*/}}
{{- define "pgspan.templateSize" -}}
{{- $size := include "pgspan.text" (.context.Values.persistence.templateSize | default .context.Values.persistence.size) -}}
{{- $name := printf "%s-%s" (include "pgspan.fullname" .context) .bornAs -}}
{{- range dig "spec" "volumeClaimTemplates" list (lookup "apps/v1" "StatefulSet" (include "pgspan.namespace" .context) $name) -}}
{{- $size = .spec.resources.requests.storage -}}
{{- end -}}
{{- $size -}}
{{- end -}}
