{{- define "headway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Release "headway" gives headway-operator, the operator's own default; any other release gets its name in front. */}}
{{- define "headway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "headway.name" .) .Release.Name -}}
{{- printf "%s-operator" (.Release.Name | trunc 31 | trimSuffix "-") }}
{{- else -}}
{{- printf "%s-%s-operator" (.Release.Name | trunc 20 | trimSuffix "-") (include "headway.name" . | trunc 20) }}
{{- end }}
{{- end }}

{{- define "headway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "headway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "headway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "headway.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headway
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "headway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "headway.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "headway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{- define "headway.tlsSecret" -}}
{{ include "headway.fullname" . }}-tls
{{- end }}

{{/* What the operator does in a namespace that it serves: the ClusterRole or each Role. docs/operator.md has the reasons. */}}
{{- define "headway.runRules" -}}
- apiGroups: [headway.dev]
  resources: [trainingruns]
  verbs: [get, list, watch]
- apiGroups: [headway.dev]
  resources: [trainingruns/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
