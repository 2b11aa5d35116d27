/** Where deliveries may go besides the public internet. Empty `allowCidrs` and `allowHttp: 'never'` are the strictest. */
export type EgressPolicy = {
  /** Ranges that targets may use although they are not public. A metadata service opens only as an exact /32 or /128. */
  readonly allowCidrs: readonly string[];
  /** `loopback`: http:// only to this machine, and only where allowCidrs opens it. */
  readonly allowHttp: 'always' | 'loopback' | 'never';
  /** Ports that no target may use, wherever it is. */
  readonly denyPorts: ReadonlySet<number>;
  /** Name servers to ask, `address` or `address:port`; the machine's own if absent. */
  readonly dnsServers?: readonly string[] | undefined;
};

/** A connection that was refused before a single packet left. The message holds no address: a customer may read it. */
export class BlockedTargetError extends Error {
  readonly code = 'ERR_BLOCKED_TARGET';
}
