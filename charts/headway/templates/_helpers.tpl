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

{{- define "headway.instanceLabels" -}}
app.kubernetes.io/name: {{ include "headway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "headway.selectorLabels" -}}
{{ include "headway.instanceLabels" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "headway.labels" -}}
{{ include "headway.selectorLabels" . }}
{{ include "headway.chartLabels" . }}
{{- end }}

{{- define "headway.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
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

{{/* headway.image (dict "image" .Values.image "root" $) */}}
{{- define "headway.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end }}
{{- end }}

{{/* The study service is named beside the operator: headway-operator, headway-studies. */}}
{{- define "headway.studies" -}}
{{ include "headway.fullname" . | trimSuffix "-operator" }}-studies
{{- end }}

{{- define "headway.studiesSelectorLabels" -}}
{{ include "headway.instanceLabels" . }}
app.kubernetes.io/component: studies
{{- end }}

{{- define "headway.studiesLabels" -}}
{{ include "headway.studiesSelectorLabels" . }}
{{ include "headway.chartLabels" . }}
{{- end }}

{{- define "headway.studiesUrl" -}}
https://{{ include "headway.studies" . }}.{{ .Release.Namespace }}.svc:8444
{{- end }}

{{- define "headway.tlsSecret" -}}
{{ include "headway.fullname" . }}-tls
{{- end }}

{{/* What the operator does in a namespace that it serves: the ClusterRole or each Role. docs/operator.md has the reasons. */}}
{{- define "headway.runRules" -}}
- apiGroups: [headway.dev]
  resources: [trainingruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [headway.dev]
  resources: [hpostudies]
  verbs: [get, list, watch]
- apiGroups: [headway.dev]
  resources: [trainingruns/status, hpostudies/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, patch]
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
