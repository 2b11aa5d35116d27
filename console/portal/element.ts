/**
 * The custom element `<webhooks-portal token-url="…">`: a frame with the portal, which gets its tokens over a MessagePort. It
 * runs in the page that embeds the portal, is a file of its own, and imports nothing.
 */
customElements.define(
  'webhooks-portal',
  class extends HTMLElement {
    #port: MessagePort | undefined;

    /** Resolves with the token of a new session. A page may replace it. */
    getToken = async (): Promise<string> => {
      const response = await fetch(this.getAttribute('token-url') ?? '', { method: 'POST' });
      if (!response.ok) throw new Error(`${response.status} from token-url`);
      // `as`: the back end of the page returns this.
      return ((await response.json()) as { token: string }).token;
    };

    connectedCallback(): void {
      const base = new URL('./', import.meta.url);
      const frame = document.createElement('iframe');
      frame.title = this.getAttribute('label') ?? 'Webhooks';
      frame.allow = 'clipboard-write';
      frame.style.cssText = 'display:block;width:100%;height:100%;border:0';
      frame.src = new URL(this.getAttribute('page') ?? '', base).href;
      frame.onload = () => {
        const { port1, port2 } = new MessageChannel();
        this.#port?.close();
        this.#port = port1;
        port1.onmessage = () => {
          this.getToken().then(
            (token) => port1.postMessage({ token }),
            (error: unknown) => {
              port1.postMessage({});
              reportError(error);
            },
          );
        };
        // Only the portal gets the port: a page of another origin in the frame does not.
        frame.contentWindow?.postMessage({ scheme: this.getAttribute('scheme') }, base.origin, [port2]);
      };
      this.style.display ||= 'block';
      this.style.height ||= '640px';
      this.replaceChildren(frame);
    }

    disconnectedCallback(): void {
      this.#port?.close();
      this.replaceChildren();
    }
  },
);
