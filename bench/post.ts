import { Agent } from 'node:http';
import type { FloorRequest } from './floor-request.ts';
import { postWithGot } from './post-with-got.ts';
import { postWithHttp } from './post-with-http.ts';

/** Sends one request and resolves when its response has been read. Rejects unless the status is 2xx. */
export type Post = (url: string, request: FloorRequest, agent: Agent) => Promise<void>;

/** The client: node:http alone, or got with the program's settings. */
export type PostKind = 'http' | 'got';

export const POSTS: Readonly<Record<PostKind, Post>> = { http: postWithHttp, got: postWithGot };

/** An agent that keeps up to `maxFreeSockets` idle connections. No loop reaches the limit of 1,000 connections. */
export function keepAliveAgent(maxFreeSockets: number): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1_000, timeout: 30_000, maxFreeSockets });
}
