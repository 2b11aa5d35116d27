import type { CORSOptions, Plugin } from 'graphql-yoga';

const JSON_TYPE = /^application\/(?:graphql\+)?json *(?:;|$)/i;

/**
 * What browsers are told about pages of other origins: those that are listed may read answers, and nobody else.
 * Without credentials, as there are no cookies; a page has to know a key, and then needs no protection from itself.
 */
export function createCors(origins: readonly string[]): false | ((request: Request) => CORSOptions) {
  // Otherwise every OPTIONS would be answered.
  if (origins.length === 0) return false;
  return (request) => {
    const origin = request.headers.get('origin');
    if (origin === null || !origins.includes(origin)) return false;
    return {
      ...{ origin: [origin], credentials: false, methods: ['GET', 'POST'], maxAge: 600 },
      exposedHeaders: ['retry-after'],
    };
  };
}

/** A form of any page can send the other types without asking first; only JSON makes a browser ask. */
export function requireJson(): Plugin {
  return {
    onRequestParse: ({ request, fetchAPI, endResponse }) => {
      if (request.method !== 'POST' || JSON_TYPE.test(request.headers.get('content-type') ?? '')) return;
      const message = 'send the operation as application/json';
      const body = JSON.stringify({ errors: [{ message, extensions: { code: 'UNSUPPORTED_MEDIA_TYPE' } }] });
      endResponse(new fetchAPI.Response(body, { status: 415, headers: { 'content-type': 'application/json' } }));
    },
  };
}
