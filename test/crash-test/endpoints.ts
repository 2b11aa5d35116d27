import { Endpoint, type EndpointMode, type SeenRequest } from './endpoint.ts';
import { type Delay, LoopDelays } from './loop-delays.ts';
import { ENDPOINTS } from './schedule.ts';

/** All receivers of a run, and the requests that they saw. */
export class Endpoints {
  readonly requests: SeenRequest[] = [];
  readonly #endpoints: readonly Endpoint[];
  readonly #loop = new LoopDelays();

  constructor(seed: number, onSuccess: (request: SeenRequest) => void) {
    const onSeen = (request: SeenRequest) => void this.requests.push(request);
    const indices = Array.from({ length: ENDPOINTS }, (_, index) => index);
    this.#endpoints = indices.map((index) => new Endpoint({ index, seed, onSeen, onSuccess }));
  }

  /** Returns the URLs of the endpoints, in order. */
  start(): Promise<string[]> {
    this.#loop.start();
    return Promise.all(this.#endpoints.map((endpoint) => endpoint.start()));
  }

  /** Periods in which the receivers read no requests, because the machine was overloaded. */
  get delays(): readonly Delay[] {
    return this.#loop.delays;
  }

  /** Number of open requests without an answer, at all endpoints. */
  get open(): number {
    return this.#endpoints.reduce((sum, { open }) => sum + open, 0);
  }

  /** Changes the mode of one endpoint; `name` is its name in the schedule. */
  async become(name: string, mode: EndpointMode): Promise<void> {
    await this.#endpoints[Number(name.slice('endpoint-'.length))]?.become(mode);
  }

  async stop(): Promise<void> {
    this.#loop.stop();
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.stop()));
  }
}
