/** A server that this program runs for itself. It comes back by itself, on the same port, when it is killed. */
export type EmbeddedServer = { readonly url: string; stop(): Promise<void> };
