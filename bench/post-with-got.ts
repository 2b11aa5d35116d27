import got from 'got';
import type { Post } from './post.ts';

/** Merges the constant options once, as the program does. Merging them is most of the cost of got. */
const client = got.extend({ method: 'POST', retry: { limit: 0 }, followRedirect: false, decompress: false });

/** The cheapest request with got: its promise API takes a third more CPU than its streams. */
export const postWithGot: Post = (url, { headers, body }, http) =>
  new Promise((resolve, reject) => {
    client
      .stream(url, { headers: { ...headers }, body, agent: { http } })
      .once('error', reject)
      .once('end', resolve)
      .resume();
  });
