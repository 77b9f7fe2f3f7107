# Web and worker of Orderbridge, in one image: docs/install-compose.md. `.ci/image` builds and runs it without Docker.
# The digest is an index of linux/amd64 and linux/arm64; change tag and digest together.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# hadolint ignore=DL3006  pinned above
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/orderbridge
COPY requirements.txt ./
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --only-binary :all: --require-hashes -r requirements.txt
COPY manage.py gunicorn.conf.py ./
COPY integration_site integration_site
COPY orders orders
COPY sync sync
COPY webhooks webhooks
COPY templates templates
# DEBUG only so that no SECRET_KEY is needed here.
RUN DEBUG=true DATABASE_URL=sqlite://:memory: /opt/venv/bin/python manage.py collectstatic --noinput -v0 \
    && /opt/venv/bin/python -m whitenoise.compress -q staticfiles \
    && /opt/venv/bin/python -m pip uninstall -q -y pip setuptools \
    && /opt/venv/bin/python -m compileall -q /opt/venv . \
    && chmod -R u=rwX,go=rX /opt/venv . \
    && install -d -m 700 -o 10001 -g 10001 /data

# hadolint ignore=DL3006  pinned above
FROM ${BASE}
LABEL org.opencontainers.image.title="Orderbridge" \
      org.opencontainers.image.description="Keeps the orders of a WooCommerce shop and of a CRM in step"
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
    DATABASE_URL=sqlite:////data/db.sqlite3 ORDERBRIDGE_ENV_FILE="" ORDERBRIDGE_STATIC_FILES=collected
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/orderbridge /srv/orderbridge
# For SQLite: with PostgreSQL nothing is written but to /tmp and /dev/shm, and the root may be read-only.
COPY --from=build --chown=10001:10001 /data /data
WORKDIR /srv/orderbridge
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# The worker has another: python manage.py healthcheck worker
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["python", "manage.py", "healthcheck", "web"]
CMD ["gunicorn", "integration_site.wsgi", "--bind", "0.0.0.0:8000", "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "--error-logfile", "-"]
