const MAX_BODY_BYTES = 20_000;

/** The start of a response's body, as the delivery log keeps it. */
export type ResponseBody = {
  /** False once there is more than is kept: then nothing more needs to be read. */
  add(chunk: Buffer): boolean;
  /**
   * UTF-8, with U+FFFD for what is not and for NUL, which Postgres text cannot hold. `complete`: nothing is missing;
   * otherwise a character that was cut is left out.
   */
  text(options: { readonly complete: boolean }): string;
};

export function createResponseBody(): ResponseBody {
  const chunks: Buffer[] = [];
  let length = 0;
  return {
    add: (chunk) => {
      const room = MAX_BODY_BYTES - length;
      // Copied, or a part would keep its whole network buffer (64 KiB) alive.
      if (room > 0) chunks.push(Buffer.from(chunk.subarray(0, room)));
      length += Math.min(chunk.length, room);
      return chunk.length <= room;
    },
    text: ({ complete }) =>
      new TextDecoder('utf-8', { ignoreBOM: true })
        .decode(Buffer.concat(chunks), { stream: !complete })
        .replaceAll('\0', '\uFFFD'),
  };
}
