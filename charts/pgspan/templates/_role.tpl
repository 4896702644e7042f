{{/*
What a Job that gives an order is: the pod, and how it reaches the keepers. The order has an end of its own, and is never done again by a second
pod: that one reports what became of it.
Usage: {{ include "pgspan.role.job" (dict "context" $ "command" (list "role" "switchover") "timeout" "3m" "seconds" 400) }}
*/}}
{{- define "pgspan.role.job" -}}
{{- $c := .context -}}
backoffLimit: 1
activeDeadlineSeconds: {{ .seconds }}
ttlSecondsAfterFinished: 86400
template:
  metadata:
    labels:
      {{- include "pgspan.podLabels" (dict "context" $c "component" "role") | nindent 6 }}
  spec:
    restartPolicy: Never
    {{- if $c.Values.serviceAccount.create }}
    serviceAccountName: {{ include "pgspan.fullname" $c }}-role
    {{- end }}
    {{- include "pgspan.pod" (dict "context" $c "component" "role" "values" (include "pgspan.besideDatabase" $c | fromYaml)) | nindent 4 }}
    containers:
      - name: role
        image: {{ include "pgspan.agentsImage" $c }}
        imagePullPolicy: {{ $c.Values.agents.image.pullPolicy }}
        command: {{ .command | toJson }}
        {{- with $c.Values.database.securityContext }}
        securityContext:
          {{- toYaml . | nindent 10 }}
        {{- end }}
        env:
          - {name: PGSPAN_KEEPERS, value: {{ printf "%s:8009" (include "pgspan.host" (dict "context" $c "service" "members")) | quote }}}
          - {name: PGSPAN_TIMEOUT, value: {{ .timeout | quote }}}
          - {name: PGSPAN_ID, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}}}
        resources:
          {{- toYaml $c.Values.agents.role.resources | nindent 10 }}
        volumeMounts:
          - {name: tls, mountPath: /pgspan/tls, readOnly: true}
    volumes:
      - name: tls
        {{- include "pgspan.tlsVolume" (dict "context" $c "pairs" (list "keeper")) | nindent 8 }}
{{- end -}}

{{/*
What a rollout is asked for with. The settings are named, because pods see a changed ConfigMap a minute or two later. Usage: {{ include "pgspan.role.rollout" . | fromJsonArray }}
*/}}
{{- define "pgspan.role.rollout" -}}
{{- list "role" "rollout" (printf "--settings=%s" (include "pgspan.settingsName" .)) (printf "--for=%s" .Values.rollout.memberTimeout) (printf "--soak=%s" .Values.rollout.soak) | toJson -}}
{{- end -}}

{{/* What an upgrade does about restarts; an unquoted off arrives as false. Usage: {{ include "pgspan.role.onUpgrade" . }} */}}
{{- define "pgspan.role.onUpgrade" -}}
{{- ternary .Values.rollout.onUpgrade "off" (kindIs "string" .Values.rollout.onUpgrade) -}}
{{- end -}}
