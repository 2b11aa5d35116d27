/** A server that the engine starts and supervises. If it is killed, it is restarted on the same port. */
export type EmbeddedServer = { readonly url: string; stop(): Promise<void> };
