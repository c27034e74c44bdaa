import type { Attributes, Context, Span, Tracer } from "@opentelemetry/api";
import type { ExportResult } from "@opentelemetry/core";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base";
import type { TracingConfig } from "../config/observability.js";
import { messageOf, RingdError } from "../lib/errors.js";
import type { Logger } from "../log/logger.js";
import type { FramedRequest, ResponseRecord } from "../messages/requests.js";
import { METHODS } from "../v2/request.js";
import type { CallerTrace, Exchange } from "./frontend.js";
import type { Observation, Observer } from "./observed-gateway.js";
import { routeOf } from "./routes.js";

/** Of one batch. The SDK keeps 2048 spans at most, and drops more. */
const EXPORT_MS = 5000;
/** For the last spans of a process that ends. */
const CLOSE_MS = 1000;
/** Of a caller's id of its request, and of a path. */
const REQUEST_ID_CHARACTERS_MAX = 256;
const PATH_CHARACTERS_MAX = 1024;
/** A longer one does not count, by W3C's rule. */
const STATE_CHARACTERS_MAX = 512;
const SERVER_ERROR = 500;

/** The SDK cannot be loaded. */
export class TracingError extends RingdError {
  override readonly name = "TracingError";
  readonly code = "TRACING";
}

type Sdk = Awaited<ReturnType<typeof loadSdk>>;

/** Loaded only for tracing: it takes half a second and 20 MB. @throws TracingError */
async function loadSdk() {
  try {
    const [api, core, resources, sdk, otlp] = await Promise.all([
      import("@opentelemetry/api"),
      import("@opentelemetry/core"),
      import("@opentelemetry/resources"),
      import("@opentelemetry/sdk-trace-base"),
      import("@opentelemetry/exporter-trace-otlp-grpc"),
    ]);
    return { ...api, ...core, ...resources, ...sdk, ...otlp };
  } catch (error) {
    throw new TracingError(
      `--experimental-enable-distributed-tracing needs ringd's optional dependencies, which are not installed: ${messageOf(error)}`,
    );
  }
}

/** A span for each request, sent to a collector in batches. */
export class Tracing implements Observer {
  readonly #sdk: Sdk;
  readonly #thread: number;
  readonly #tracer: Tracer;
  readonly #propagator: InstanceType<Sdk["W3CTraceContextPropagator"]>;
  /** Traces begin here, too. */
  readonly #begins: boolean;
  readonly #shutDown: () => Promise<void>;

  /** @throws TracingError */
  static async start(config: TracingConfig, thread: number, log: Logger): Promise<Tracing> {
    return new Tracing(await loadSdk(), config, thread, log);
  }

  private constructor(sdk: Sdk, config: TracingConfig, thread: number, log: Logger) {
    const { address, serviceName, instanceId, samplingRate } = config;
    const exporter = new sdk.OTLPTraceExporter({
      url: `http://${address}`,
      timeoutMillis: EXPORT_MS,
    });
    const ratio = samplingRate / 1_000_000;
    const attributes: Attributes = {
      "service.name": serviceName,
      ...(instanceId === "" ? {} : { "service.instance.id": instanceId }),
    };
    const provider = new sdk.BasicTracerProvider({
      resource: sdk.defaultResource().merge(sdk.resourceFromAttributes(attributes)),
      // As etcd: a caller decides about its own traces.
      sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(ratio) }),
      spanProcessors: [new sdk.BatchSpanProcessor(warning(exporter, sdk, address, log))],
    });
    this.#sdk = sdk;
    this.#thread = thread;
    this.#tracer = provider.getTracer("ringd");
    this.#propagator = new sdk.W3CTraceContextPropagator();
    this.#begins = samplingRate > 0;
    this.#shutDown = () => provider.shutdown();
    log.debug(
      { address, "service-name": serviceName, "service-instance-id": instanceId, samplingRate },
      "distributed tracing enabled",
    );
  }

  began(request: FramedRequest, exchange: Exchange): Observation | undefined {
    const { trace } = exchange;
    const parent = this.#parentOf(trace);
    if (parent === undefined && !this.#begins) return undefined;
    const { SpanKind, ROOT_CONTEXT } = this.#sdk;
    const method = METHODS[request.method];
    const route = routeOf(request.path);
    const span = this.#tracer.startSpan(
      route === "" ? method : `${method} ${route}`,
      { kind: SpanKind.SERVER, attributes: attributesOf(request, exchange, method, route) },
      parent ?? ROOT_CONTEXT,
    );
    return span.isRecording() ? this.#follow(span) : undefined;
  }

  #parentOf(trace: CallerTrace | undefined): Context | undefined {
    if (trace === undefined || trace.traceparent === "") return undefined;
    const { ROOT_CONTEXT, defaultTextMapGetter } = this.#sdk;
    const { traceparent, tracestate } = trace;
    const state = tracestate.length > STATE_CHARACTERS_MAX ? "" : copyOf(tracestate);
    const carrier = {
      traceparent: copyOf(traceparent),
      ...(state === "" ? {} : { tracestate: state }),
    };
    const context = this.#propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);
    return context === ROOT_CONTEXT ? undefined : context; // Malformed: as if there were none.
  }

  #follow(span: Span): Observation {
    const { SpanStatusCode } = this.#sdk;
    return {
      numbered: (requestId) =>
        span.setAttribute("ringd.request_id", `${this.#thread}-${requestId}`),
      answered: ({ status, etcdIndex }: ResponseRecord, bytes, isWatch) => {
        span.setAttribute("http.response.status_code", status);
        if (etcdIndex >= 0) span.setAttribute("etcd.index", etcdIndex);
        if (isWatch) span.setAttribute("etcd.watch", true);
        else span.setAttribute("http.response.body.size", bytes);
        if (status >= SERVER_ERROR) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
      gone: () => {
        span.setStatus({ code: SpanStatusCode.ERROR, message: "the client disconnected" });
        span.end();
      },
    };
  }

  async close(): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), CLOSE_MS);
    });
    const done = this.#shutDown().then(
      () => true,
      () => true, // It was warned of.
    );
    const isDone = await Promise.race([done, late]);
    clearTimeout(timer);
    return isDone;
  }
}

/** OpenTelemetry's names. Queries are left out, as values may be in them. */
function attributesOf(
  { path }: FramedRequest,
  { trace, remoteAddress }: Exchange,
  method: string,
  route: string,
): Attributes {
  const id = trace?.requestId ?? "";
  return {
    "http.request.method": method === "OTHER" ? "_OTHER" : method,
    "url.path": copyOf(path.slice(0, PATH_CHARACTERS_MAX)),
    ...(route === "" ? {} : { "http.route": route }),
    ...(remoteAddress === "" ? {} : { "client.address": remoteAddress }),
    ...(id === ""
      ? {}
      : { "http.request.header.x-request-id": [copyOf(id.slice(0, REQUEST_ID_CHARACTERS_MAX))] }),
  };
}

/** Part of a string keeps all of it alive: here the whole head, of up to 1 MiB for each span. */
function copyOf(text: string): string {
  return Buffer.from(text).toString();
}

/** One line when the collector cannot be reached, and one when it can again. */
function warning(
  exporter: SpanExporter,
  { ExportResultCode }: Sdk,
  address: string,
  log: Logger,
): SpanExporter {
  let isFailing = false;
  const onResult = ({ code, error }: ExportResult) => {
    const hasFailed = code !== ExportResultCode.SUCCESS;
    if (hasFailed === isFailing) return;
    isFailing = hasFailed;
    if (!hasFailed) log.info({ address }, "traces are sent to the collector again");
    else {
      log.warn(
        { address, reason: error === undefined ? "" : messageOf(error) },
        "cannot send traces to the collector; they are dropped until it can be reached",
      );
    }
  };
  return {
    export: (spans: ReadableSpan[], done: (result: ExportResult) => void) => {
      exporter.export(spans, (result) => {
        onResult(result);
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
