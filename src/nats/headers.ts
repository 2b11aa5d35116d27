import type { MsgHdrs, StoredMsg } from 'nats';

/**
 * Maximum bytes of a message's headers. The client compares each header name with all names before it: 8 KiB of short
 * names take 25 ms, 1 MiB takes minutes.
 */
export const MAX_HEADER_BYTES = 8_192;

export class HeadersTooLargeError extends Error {}

/** A message from the client, which decodes the headers when they are first read. */
type ConsumedMessage = { readonly headers?: MsgHdrs | undefined };

// The client's types do not expose the size of the headers, so both functions read private fields. Tests fail if the
// client renames them.

/** Returns the headers of a message. Throws a HeadersTooLargeError, without decoding them, if they are too large. */
export function headersOf(message: ConsumedMessage): MsgHdrs | undefined {
  // `as`: see above.
  const { msg } = message as { readonly msg?: { readonly _msg?: { readonly hdr?: number } } };
  checkSize(msg?._msg?.hdr ?? 0);
  return message.headers;
}

/** Like headersOf, for a message that was read from its stream without a consumer. */
export function storedHeadersOf(message: StoredMsg): MsgHdrs {
  // `as`: see above.
  const { smr } = message as { readonly smr?: { readonly message?: { readonly hdrs?: string } } };
  checkSize(Math.floor(((smr?.message?.hdrs?.length ?? 0) * 3) / 4));
  return message.header;
}

function checkSize(bytes: number): void {
  if (bytes <= MAX_HEADER_BYTES) return;
  throw new HeadersTooLargeError(`the headers have ${bytes} bytes, at most ${MAX_HEADER_BYTES} are accepted`);
}
