{{/* The name of every object: the release, and the chart where the release is not named after it. */}}
{{- define "tableau-exporter.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select the pod: they never change. */}}
{{- define "tableau-exporter.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tableau-exporter.labels" -}}
{{ include "tableau-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* A web configuration may require TLS or users, which the kubelet has not: then the image's own check is used. */}}
{{- define "tableau-exporter.probe" -}}
{{- if and .root.Values.config.web .root.Values.config.web.config_file -}}
exec:
  command: [tableau-exporter, healthcheck]
timeoutSeconds: 10
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
timeoutSeconds: 5
{{- end -}}
{{- end -}}
