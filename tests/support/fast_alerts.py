"""The program with an alert's minutes made seconds: run as ``python -m tests.support.fast_alerts``."""

import sys
from functools import partial

from exporter import app
from exporter.alerting import notifier, states
from exporter.alerting.evaluator import EvaluationOptions
from exporter.cli import main
from exporter.demo import fast_rules

EVALUATION_SECONDS = 0.25

if __name__ == "__main__":
    vars(notifier).update(RESEND_SECONDS=1.0, SLACK_SECONDS=0.0)
    vars(states).update(EARLIER_SECONDS=2.0, LATER_SECONDS=5.0)
    tempo = fast_rules.tempo()
    vars(app).update(run=partial(app.run, evaluation=EvaluationOptions(tempo.rules, EVALUATION_SECONDS)))
    sys.exit(main())
