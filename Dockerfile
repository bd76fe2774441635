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
    NUMBA_CACHE_DIR=/var/cache/spikeserve/kernels \
    ORT_DISABLE_TELEMETRY=1 \
    SPIKESERVE_PORT=8000
RUN ["python", "-c", "import importlib.util, sys; sys.exit('torch is for training and must not be in this image' if importlib.util.find_spec('torch') else 0)"]
# Numeric, so that Kubernetes can see that it is not root.
USER 10001:10001
# For the processor that builds; another one compiles once more at its first start.
RUN ["python", "-c", "from spikeserve.models.engines.kernels.compiled import step_kernel; step_kernel()"]
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=180s --retries=3 \
    CMD ["python", "-m", "spikeserve.deploy.healthcheck", "/livez"]
STOPSIGNAL SIGTERM
CMD ["spikeserve", "serve"]
