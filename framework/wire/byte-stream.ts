/** Who consumes a {@link ByteStream}. Handlers run synchronously in the reader and must not block or throw. */
export interface ByteSink {
  /** Whether chunks may be lent, which saves a copy: they hold until {@link onData} returns then. Default: no. */
  readonly borrows?: boolean
  /** Bytes as they arrived; the chunk belongs to the sink, unless it {@link borrows}. */
  onData(chunk: Uint8Array): void
  /** Called exactly once: without an error on a clean end, else with a connect error. */
  onClose(error?: Error): void
}

/**
 * A connected, ordered, reliable byte stream in both directions. Protocol clients get one injected, so the
 * same client runs over a Unix socket, TLS, ssh, a WebSocket or an in-memory pair.
 */
export interface ByteStream {
  /** Where it leads, for messages: `unix:/run/…`, `tcp:host:port`. */
  readonly peer: string
  /** Whether only the peer can read what is sent: a local socket, TLS, ssh. Absent means no. */
  readonly confidential?: boolean
  /** Whether it is over. Absent where the stream does not tell. */
  readonly isOver?: boolean
  /** Starts delivery. Call exactly once; bytes that arrived before are delivered first. */
  start(sink: ByteSink): void
  /**
   * Queues bytes for sending. Resolves once the stream took them (back-pressure), rejects with
   * `ATP_STREAM_CLOSED` when the stream is or gets closed before that.
   */
  write(bytes: Uint8Array): Promise<void>
  /** Stops delivery until {@link resume}: the peer is slowed down by its own transport. */
  pause(): void
  resume(): void
  /** Ends the stream at once. Idempotent. The sink's `onClose` is called with this error, or without. */
  destroy(error?: Error): void
}
