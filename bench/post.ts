import { Agent } from 'node:http';
import type { FloorRequest } from './floor-request.ts';
import { postWithGot } from './post-with-got.ts';
import { postWithHttp } from './post-with-http.ts';

/** Sends one request, and resolves when its response has been read; rejects unless that is a 2xx. */
export type Post = (url: string, request: FloorRequest, agent: Agent) => Promise<void>;

/** What sends: node:http alone, or got as the program has it. */
export type PostKind = 'http' | 'got';

export const POSTS: Readonly<Record<PostKind, Post>> = { http: postWithHttp, got: postWithGot };

/** 1,000 is more than there ever are; all of them are kept. */
export function keepAliveAgent(maxFreeSockets: number): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1_000, timeout: 30_000, maxFreeSockets });
}
