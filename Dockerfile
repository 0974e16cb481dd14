FROM python:3.13-slim AS build
WORKDIR /src
# Without pip: what runs needs no installer.
RUN python -m venv --without-pip /opt/unpod-exporter
COPY requirements.lock ./
RUN pip --python /opt/unpod-exporter/bin/python install --no-cache-dir --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .
RUN pip --python /opt/unpod-exporter/bin/python install --no-cache-dir --no-index --no-deps --find-links /wheels unpod-exporter
# What is inside, for scanners.
RUN pip install --no-cache-dir cyclonedx-bom==7.5.0
RUN cyclonedx-py environment --output-reproducible --output-file /opt/unpod-exporter/sbom.cdx.json /opt/unpod-exporter/bin/python

FROM python:3.13-slim
COPY --from=build /opt/unpod-exporter /opt/unpod-exporter
# Of the group 0, so that an arbitrary user id, as OpenShift gives, can write there too.
RUN install -d -o 65532 -g 0 -m 0770 /var/lib/unpod-exporter
ENV PATH=/opt/unpod-exporter/bin:$PATH
ENV PYTHONUNBUFFERED=1
ENV UNPOD_EXPORTER_STATE_PATH=/var/lib/unpod-exporter/unpod-exporter.db
VOLUME /var/lib/unpod-exporter
# config.yaml is looked for here; without one the environment is enough.
WORKDIR /etc/unpod-exporter
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 10130
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-m", "exporter.health"]
ENTRYPOINT ["unpod-exporter"]
CMD ["run"]
