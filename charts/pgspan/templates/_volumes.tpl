{{/*
The volumes of a database pod beside its persistent one. What is written at run time is memory: it is gone with the pod, and a base backup
can never carry it. Memory volumes count into the memory limit of whoever writes them and cannot grow past their size.
Usage: {{ include "pgspan.volumes" (dict "context" $ "values" $values) }}
*/}}
{{- define "pgspan.volumes" -}}
{{- range $name, $size := dict "bin" "96Mi" "control" "1Mi" "conf" "4Mi" "keys" "1Mi" "socket" "1Mi" "tmp" "32Mi" "shm" .values.sharedMemory }}
- name: {{ $name }}
  emptyDir: {medium: Memory, sizeLimit: {{ $size }}}
{{- end }}
- name: settings
  configMap:
    name: {{ include "pgspan.fullname" .context }}-settings
    defaultMode: 0444
- name: tls
  {{- include "pgspan.tlsVolume" (dict "context" .context) | nindent 2 }}
- name: api
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- with include "pgspan.extra" (dict "context" .context "list" .values.extraVolumes) | trim }}
{{ . }}
{{- end }}
{{- end -}}

{{/*
The source of /pgspan/users of pgpool: <user>/password for each user. Optional, since a Secret that somebody forgot must not keep pgpool
down; it says what is missing. Usage: {{ include "pgspan.usersVolume" $ }}
*/}}
{{- define "pgspan.usersVolume" -}}
projected:
  defaultMode: 0440
  sources:
    {{- range $user, $secret := include "pgspan.passwordSecrets" . | fromYaml }}
    - secret:
        name: {{ $secret.name }}
        optional: true
        items:
          - {key: {{ $secret.key | quote }}, path: {{ printf "%s/password" $user | quote }}}
    {{- else }}
    []
    {{- end }}
{{- end -}}
