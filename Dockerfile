# Any base with Python 3.11 or newer, venv and useradd.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
# A virtual environment: Debian's Python does not allow packages from pip.
RUN python3 -m venv /opt/tableau-exporter
COPY requirements/build.txt requirements/run.txt requirements/
RUN /opt/tableau-exporter/bin/pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/run.txt
COPY LICENSE README.md pyproject.toml ./
COPY alerts alerts
COPY charts charts
COPY deploy deploy
COPY exporter exporter
COPY grafana grafana
RUN /opt/tableau-exporter/bin/pip install --no-cache-dir --disable-pip-version-check \
        --no-deps --no-build-isolation . \
    && /opt/tableau-exporter/bin/pip uninstall --yes --quiet --disable-pip-version-check setuptools pip

FROM ${BASE}
LABEL org.opencontainers.image.title="tableau-exporter" \
      org.opencontainers.image.description="A Prometheus exporter and alerting agent for Tableau" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10071 exporter \
    && useradd --uid 10071 --gid exporter --home-dir /data --no-create-home --shell /usr/sbin/nologin exporter \
    && install --directory --owner exporter --group exporter --mode 0750 /data \
    && install --directory /etc/tableau-exporter
COPY --from=build /opt/tableau-exporter /opt/tableau-exporter
ENV PATH=/opt/tableau-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    TABLEAU_EXPORTER_HISTORY__PATH=/data/history.duckdb \
    TABLEAU_EXPORTER_WEB__LISTEN_ADDRESS=0.0.0.0:10071
USER 10071:10071
# The default configuration file is here if it is mounted; otherwise only environment variables configure.
WORKDIR /etc/tableau-exporter
VOLUME /data
EXPOSE 10071
# At the configured address, also with TLS and users. Add flags of `run` that change the address.
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["/opt/tableau-exporter/bin/tableau-exporter", "healthcheck"]
ENTRYPOINT ["tableau-exporter"]
CMD ["run"]
