{{/* The four containers of a database pod, in the order in which they run. Each takes (dict "context" $ "values" $values "bornAs" "primary"). */}}

{{/* agents: copies seed, guard and a passwd file into memory, so that any PostgreSQL image can be used unchanged. */}}
{{- define "pgspan.container.agents" -}}
- name: agents
  image: {{ include "pgspan.agentsImage" .context }}
  imagePullPolicy: {{ .context.Values.agents.image.pullPolicy }}
  command: ["seed", "-install", "/pgspan/bin"]
  {{- include "pgspan.container.security" . | nindent 2 }}
  resources:
    {{- toYaml .context.Values.agents.install.resources | nindent 4 }}
  volumeMounts:
    - {name: bin, mountPath: /pgspan/bin}
{{- end -}}

{{/* keeper: a native sidecar, started before seed because seed waits for its grant; the only one that may call the API. */}}
{{- define "pgspan.container.keeper" -}}
{{- $c := .context -}}
- name: keeper
  image: {{ include "pgspan.agentsImage" $c }}
  imagePullPolicy: {{ $c.Values.agents.image.pullPolicy }}
  restartPolicy: Always
  command: ["keeper"]
  {{- include "pgspan.container.security" . | nindent 2 }}
  env:
    {{- include "pgspan.container.identity" . | nindent 4 }}
    - {name: PGSPAN_LEASE_DURATION, value: {{ $c.Values.lease.duration | quote }}}
    - {name: PGSPAN_FENCE_AFTER, value: {{ $c.Values.lease.fenceAfter | quote }}}
    - {name: PGSPAN_STOP_TIME, value: {{ $c.Values.lease.stopTime | quote }}}
    - {name: PGSPAN_RENEW_EVERY, value: {{ $c.Values.lease.renewEvery | quote }}}
    - {name: PGSPAN_SLOT_TTL, value: {{ $c.Values.replication.slotTTL | quote }}}
    # For a person: kubectl exec <pod> -c keeper -- role status
    - {name: PGSPAN_KEEPERS, value: {{ printf "%s:8009" (include "pgspan.host" (dict "context" $c "service" "members")) | quote }}}
    - {name: PGSPAN_PROBE_EVERY, value: {{ $c.Values.probe.every | quote }}}
    {{- if $c.Values.probe.write }}
    - {name: PGSPAN_PROBE, value: {{ printf "%s:%v" (include "pgspan.host" (dict "context" $c "service" "rw")) $c.Values.service.rw.port | quote }}}
    {{- end }}
    {{- if eq $c.Values.tls.mode "generated" }}
    - {name: PGSPAN_TLS_RENEW, value: {{ include "pgspan.fullname" $c }}-tls}
    - {name: PGSPAN_TLS_CA, value: {{ include "pgspan.fullname" $c }}-ca}
    - {name: PGSPAN_TLS_LEAF_LIFE, value: {{ mul $c.Values.tls.generated.days 24 }}h}
    {{- end }}
    {{- with dig "limits" "memory" "" $c.Values.agents.keeper.resources }}
    - {name: GOMEMLIMIT, value: {{ div (mul (include "pgspan.bytes" .) 2) 3 | quote }}} # two thirds: collect harder before being killed
    {{- end }}
    {{- with include "pgspan.env" $c.Values.agents.extraEnv | trim }}
    {{- . | nindent 4 }}
    {{- end }}
  ports:
    - {name: keeper, containerPort: 8008}
    - {name: peers, containerPort: 8009}
  {{- include "pgspan.probes" "keeper" | nindent 2 }}
  resources:
    {{- toYaml $c.Values.agents.keeper.resources | nindent 4 }}
  volumeMounts:
    - {name: control, mountPath: /pgspan/control}
    - {name: socket, mountPath: /pgspan/socket}
    - {name: settings, mountPath: /pgspan/settings, readOnly: true}
    - {name: tls, mountPath: /pgspan/tls, readOnly: true}
    - {name: api, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
    - {name: data, mountPath: /var/lib/pgspan, readOnly: true} # the lock says whether the server is dead; and free space
{{- end -}}

{{/* seed: fills an empty volume, or finds a full one fit. Its resources are the server's: it runs before the server, so they cost nothing. */}}
{{- define "pgspan.container.seed" -}}
- name: seed
  image: {{ include "pgspan.postgresImage" .context }}
  imagePullPolicy: {{ .context.Values.database.image.pullPolicy }}
  command: ["/pgspan/bin/seed"]
  {{- include "pgspan.container.server" . | nindent 2 }}
{{- end -}}

{{/* postgres: guard is PID 1 and runs the server. No preStop: guard's own SIGTERM handler hands over, then shuts down. */}}
{{- define "pgspan.container.postgres" -}}
- name: postgres
  image: {{ include "pgspan.postgresImage" .context }}
  imagePullPolicy: {{ .context.Values.database.image.pullPolicy }}
  command: ["/pgspan/bin/guard"]
  ports:
    - {name: postgresql, containerPort: 5432}
    - {name: guard, containerPort: 8007}
  {{- include "pgspan.probes" "postgres" | nindent 2 }}
  {{- $timings := dict "PGSPAN_FENCE_AFTER" .context.Values.lease.fenceAfter "PGSPAN_STOP_TIMEOUT" (printf "%vs" .values.terminationGracePeriodSeconds) }}
  {{- include "pgspan.container.server" (merge (dict "more" $timings) .) | nindent 2 }}
{{- end -}}

{{/*
What seed and postgres share: they must see the same places, or a plan made by one would not hold for the other. "more" is environment
that only one of them has.
*/}}
{{- define "pgspan.container.server" -}}
{{- include "pgspan.container.security" . }}
env:
  {{- include "pgspan.container.identity" . | nindent 2 }}
  {{- if dig "limits" "memory" "" (.values.resources | default dict) }}
  - name: PGSPAN_MEMORY_LIMIT
    valueFrom:
      resourceFieldRef: {containerName: postgres, resource: limits.memory, divisor: "1"}
  {{- end }}
  {{- with include "pgspan.env" (.more | default dict) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  - {name: PGSPAN_CLONE_STALL, value: {{ .context.Values.replication.cloneStall | quote }}}
  {{- with .context.Values.replication.cloneMaxRate }}
  - {name: PGSPAN_CLONE_MAX_RATE, value: {{ . | quote }}}
  {{- end }}
  {{- with include "pgspan.env" .values.extraEnv | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with include "pgspan.extra" (dict "context" .context "list" .values.extraEnvFrom) | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
resources:
  {{- toYaml (.values.resources | default dict) | nindent 2 }}
volumeMounts:
  - {name: data, mountPath: /var/lib/pgspan}
  - {name: bin, mountPath: /pgspan/bin, readOnly: true}
  - {name: bin, mountPath: /etc/passwd, subPath: passwd, readOnly: true}
  - {name: control, mountPath: /pgspan/control}
  - {name: conf, mountPath: /pgspan/conf}
  - {name: keys, mountPath: /pgspan/keys}
  - {name: socket, mountPath: /pgspan/socket}
  - {name: settings, mountPath: /pgspan/settings, readOnly: true}
  - {name: tls, mountPath: /pgspan/tls, readOnly: true}
  - {name: shm, mountPath: /dev/shm}
  - {name: tmp, mountPath: /tmp}
  {{- with include "pgspan.extra" (dict "context" .context "list" .values.extraVolumeMounts) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Who and where the pod is, from the downward API. Names decide nothing: keeper looks up the volume's UID. */}}
{{- define "pgspan.container.identity" -}}
- {name: PGSPAN_POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: PGSPAN_POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: PGSPAN_POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: PGSPAN_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: PGSPAN_NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: PGSPAN_BORN_AS, value: {{ .bornAs }}}
- {name: PGSPAN_LOG_LEVEL, value: {{ .context.Values.agents.logLevel }}}
{{- end -}}

{{- define "pgspan.container.security" -}}
{{- with .values.securityContext -}}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
