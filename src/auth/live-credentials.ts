import { isUuid } from '../subscriptions/service.ts';
import type { Viewer } from './viewer.ts';

export type Watch = {
  /** Aborts when the credential has expired or has been revoked. */
  readonly signal: AbortSignal;
  /** To be called when nobody is interested any more. */
  readonly release: () => void;
};

/** The credentials of streams and sockets that are open, so that these can end with them. */
export class LiveCredentials {
  readonly #watched = new Map<string, Set<AbortController>>();

  /** The ids of the API keys among them. */
  get apiKeyIds(): string[] {
    return [...this.#watched.keys()];
  }

  watch({ credentialId, expiresAt }: Viewer): Watch {
    const controller = new AbortController();
    const { signal } = controller;
    // What JWTs and the admin key have for an id is no UUID; nobody can revoke them.
    if (isUuid(credentialId)) this.#add(credentialId, controller);
    const timer =
      expiresAt &&
      setTimeout(
        () => {
          controller.abort();
        },
        Math.max(0, expiresAt.getTime() - Date.now()),
      );
    return {
      signal,
      release: () => {
        clearTimeout(timer);
        this.#remove(credentialId, controller);
      },
    };
  }

  end(credentialId: string): void {
    const controllers = this.#watched.get(credentialId);
    this.#watched.delete(credentialId);
    for (const controller of controllers ?? []) controller.abort();
  }

  #add(id: string, controller: AbortController): void {
    const controllers = this.#watched.get(id) ?? new Set();
    this.#watched.set(id, controllers.add(controller));
  }

  #remove(id: string, controller: AbortController): void {
    const controllers = this.#watched.get(id);
    controllers?.delete(controller);
    if (controllers?.size === 0) this.#watched.delete(id);
  }
}
