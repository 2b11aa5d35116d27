import type { MsgHdrs, StoredMsg } from 'nats';

/**
 * Maximum bytes of a message's headers. The client compares each name with all before it: 8 KiB of short names take it
 * 25 ms, 1 MiB minutes.
 */
export const MAX_HEADER_BYTES = 8_192;

export class HeadersTooLargeError extends Error {}

/** A message as the client hands it over: it decodes the headers when they are first read. */
type ConsumedMessage = { readonly headers?: MsgHdrs | undefined };

// The client's types tell no size of the headers, so both functions read fields of its own. Tests notice if it renames them.

/** The headers of a message. Throws a HeadersTooLargeError instead of decoding too many. */
export function headersOf(message: ConsumedMessage): MsgHdrs | undefined {
  // `as`: see above.
  const { msg } = message as { readonly msg?: { readonly _msg?: { readonly hdr?: number } } };
  checkSize(msg?._msg?.hdr ?? 0);
  return message.headers;
}

/** The same of a message that was read from its stream without a consumer. */
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
