// A monitoring mixin of the rules and dashboards, for go-jsonnet (mixtool, Tanka, kube-prometheus). The C++ jsonnet 0.18 cannot
// parse the rules. Import it from a checkout, or from the folder that `tableau-exporter assets` wrote.
{
  _config+:: {
    // The addresses of your copy of docs/runbooks/ and of your Grafana, without a slash at the end.
    runbooksUrl: 'https://tableau-exporter.example',
    grafanaUrl: 'https://grafana.example',
  },

  local placed(text) = std.strReplace(
    std.strReplace(text, 'https://tableau-exporter.example', $._config.runbooksUrl),
    'https://grafana.example',
    $._config.grafanaUrl
  ),

  // Recording and alerting rules: a group has both, evaluated in their order.
  prometheusAlerts+:: std.parseYaml(placed(importstr 'tableau.rules.yml')),

  grafanaDashboards+:: {
    'tableau-agent.json': import '../grafana/dashboards/agent.json',
    'tableau-background-jobs.json': import '../grafana/dashboards/background-jobs.json',
    'tableau-freshness.json': import '../grafana/dashboards/freshness.json',
    'tableau-governance.json': import '../grafana/dashboards/governance.json',
    'tableau-overview.json': import '../grafana/dashboards/overview.json',
    'tableau-server.json': import '../grafana/dashboards/server.json',
    'tableau-usage.json': import '../grafana/dashboards/usage.json',
  },
}
