import { request } from 'node:http';
import type { Post } from './post.ts';

/** The cheapest request in Node. */
export const postWithHttp: Post = (url, { headers, body }, agent) =>
  new Promise((resolve, reject) => {
    request(url, { method: 'POST', headers, agent }, (response) => {
      const { statusCode = 0 } = response;
      response.once('end', () => {
        if (statusCode >= 200 && statusCode < 300) resolve();
        else reject(new Error(`the receiver answered with ${statusCode}`));
      });
      response.once('error', reject);
      response.resume();
    })
      .once('error', reject)
      .end(body);
  });
