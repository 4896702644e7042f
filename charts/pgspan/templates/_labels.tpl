{{/*
Labels that select the pods of one component of this release. They stand in fields that cannot change: no version, no chart, nothing
from commonLabels. Usage: {{ include "pgspan.selector" (dict "context" $ "component" "database") }}
*/}}
{{- define "pgspan.selector" -}}
app.kubernetes.io/name: {{ include "pgspan.name" .context | toYaml }}
app.kubernetes.io/instance: {{ include "pgspan.instance" .context | toYaml }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/*
What tells this release from others in the namespace where its objects are: a namespace has one Helm release of a name. With namespaceOverride
two releases of one name can meet there, and only their full names differ. Usage: {{ include "pgspan.instance" . }}
*/}}
{{- define "pgspan.instance" -}}
{{- if eq (include "pgspan.namespace" .) .Release.Namespace -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s.%s" (include "pgspan.fullname" .) (.Release.Namespace | sha256sum | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/*
Labels of a pod: the selector and what people look for. No version and no chart, because a changed pod template is a restart.
Usage: {{ include "pgspan.podLabels" (dict "context" $ "component" "database" "extra" $values.podLabels) }}
*/}}
{{- define "pgspan.podLabels" -}}
{{- $own := include "pgspan.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .context.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "pgspan" -}}
{{- $_ := set $own "pgspan.io/cluster" (include "pgspan.fullname" .context) -}}
{{- merge $own (deepCopy (.extra | default dict)) (deepCopy .context.Values.commonLabels) | toYaml -}}
{{- end -}}

{{/*
Metadata of an object: name, namespace, labels, annotations.
Usage: {{ include "pgspan.metadata" (dict "context" $ "component" "database" "suffix" "-rw" "labels" (dict) "annotations" (dict)) }}
*/}}
{{- define "pgspan.metadata" -}}
{{- $c := .context -}}
{{- $labels := include "pgspan.podLabels" (dict "context" $c "component" .component "extra" .labels) | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/version" $c.Chart.AppVersion -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $c.Chart.Name $c.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $annotations := merge (deepCopy (.annotations | default dict)) (deepCopy $c.Values.commonAnnotations) -}}
name: {{ .name | default (printf "%s%s" (include "pgspan.fullname" $c) (.suffix | default "")) | toYaml }}
namespace: {{ include "pgspan.namespace" $c | toYaml }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
