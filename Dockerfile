FROM python:3.11-slim AS builder
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir --require-hashes --requirement requirements-service.txt \
    && pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
COPY --from=builder /opt/venv /opt/venv
RUN install -d -m 700 -o 10001 -g 10001 /var/cache/spikeserve
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SPIKESERVE_HOST=0.0.0.0 \
    NUMBA_CACHE_DIR=/var/cache/spikeserve \
    SPIKESERVE_PORT=8000
RUN ["python", "-c", "import importlib.util, sys; sys.exit('torch is for training and must not be in this image' if importlib.util.find_spec('torch') else 0)"]
# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-m", "spikeserve.deploy.healthcheck", "/livez"]
STOPSIGNAL SIGTERM
CMD ["spikeserve", "serve"]
