{{/*
All probes in one table. Liveness and startup ask only whether the process itself is alive; they never depend on the API, on peers, on
lag, or on a recovery that may take hours. Readiness asks keeper whether the member can serve reads.

  container  probe      asks             every  gives up after
  postgres   startup    guard  /livez     1 s   60 s
  postgres   liveness   guard  /livez     2 s    6 s: a frozen guard cannot fence; then a kill with 1 s of grace, and the lock is free
  postgres   readiness  keeper /readyz    2 s    6 s: a restart of keeper alone does not take reads away
  keeper     startup    keeper /livez     1 s   60 s: passes without API and without server, else init would never go on
  keeper     liveness   keeper /livez     5 s   30 s: keeper recovers by itself; its death costs a primary its lease
  pgpool     startup    TCP               1 s   60 s
  pgpool     readiness  TCP               3 s    6 s
  pgpool     liveness   TCP              10 s   60 s: all of its children may be taken for a while

A TCP probe takes one of pgpool's children for a moment and no server connection: health of the servers is not pgpool's business.

Usage: {{ include "pgspan.probes" "postgres" }}
*/}}
{{- define "pgspan.probes" -}}
{{- if eq . "postgres" -}}
startupProbe:
  httpGet: {path: /livez, port: guard}
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 60
  terminationGracePeriodSeconds: 1
livenessProbe:
  httpGet: {path: /livez, port: guard}
  periodSeconds: 2
  timeoutSeconds: 1
  failureThreshold: 3
  terminationGracePeriodSeconds: 1
readinessProbe:
  httpGet: {path: /readyz, port: 8008}
  periodSeconds: 2
  timeoutSeconds: 1
  failureThreshold: 3
{{- else if eq . "keeper" -}}
startupProbe:
  httpGet: {path: /livez, port: keeper}
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /livez, port: keeper}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 6
{{- else if eq . "pgpool" -}}
startupProbe:
  tcpSocket: {port: postgresql}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  tcpSocket: {port: postgresql}
  periodSeconds: 3
  failureThreshold: 2
livenessProbe:
  tcpSocket: {port: postgresql}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
{{- end -}}
