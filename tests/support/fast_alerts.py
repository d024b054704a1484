"""The program with an alert's minutes made seconds: run as ``python -m tests.support.fast_alerts``.

Of Admin Insights it reads two days: a hundred queries an hour would not reach the refresh of a site from 90 days on.
"""

import sys
from datetime import timedelta
from functools import partial

from exporter import app
from exporter.alerting import notifier, states
from exporter.alerting.evaluator import EvaluationOptions
from exporter.cli import main
from exporter.demo import fast_rules
from exporter.poller import insights_poller

EVALUATION_SECONDS = 0.25

if __name__ == "__main__":
    vars(notifier).update(RESEND_SECONDS=1.0, SLACK_SECONDS=0.0)
    vars(states).update(EARLIER_SECONDS=2.0, LATER_SECONDS=5.0)
    vars(insights_poller).update(RETAINED=timedelta(days=2), LONG_RETAINED=timedelta(days=2))
    tempo = fast_rules.tempo()
    vars(app).update(run=partial(app.run, evaluation=EvaluationOptions(tempo.rules, EVALUATION_SECONDS)))
    sys.exit(main())
