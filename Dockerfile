# The service in a container: `docker build -t equitrade .`
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY equitrade equitrade
COPY data data
COPY rl_core rl_core
COPY trading_app trading_app
COPY control_benchmarks control_benchmarks
COPY service service
RUN python -m venv /opt/equitrade \
 && /opt/equitrade/bin/python -m pip install --no-cache-dir --constraint requirements.lock '.[postgresql]'

FROM python:3.11-slim-bookworm
# A user of its own, that owns nothing but its state.
RUN useradd --system --uid 10001 --home-dir /var/lib/equitrade --create-home equitrade
COPY --from=build /opt/equitrade /opt/equitrade
ENV PATH=/opt/equitrade/bin:$PATH \
    EQUITRADE_HOME=/var/lib/equitrade \
    PYTHONUNBUFFERED=1
USER equitrade
VOLUME /var/lib/equitrade
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
# Beyond localhost it starts only once a key exists: `docker run … equitrade keys create --name NAME`.
ENTRYPOINT ["equitrade"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
