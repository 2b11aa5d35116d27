import type { GraphQLError } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import type { Authenticate } from '../../auth/auth.ts';
import type { ServerContext } from '../graphql.ts';

const HINT = 'send the header `Authorization: Bearer <API key or JWT>`, with one that is valid';

/** Nobody gets in without credentials; this is before anything of the request is read. */
export function requireViewer(
  authenticate: Authenticate,
  maskError: (error: unknown) => GraphQLError,
): Plugin<object, ServerContext> {
  return {
    onRequest: async (hook) => {
      const { request, serverContext, fetchAPI } = hook;
      const refuse = (status: number, error: object, headers: Record<string, string> = {}) => {
        const body = JSON.stringify({ errors: [error] });
        hook.endResponse(
          new fetchAPI.Response(body, { status, headers: { 'content-type': 'application/json', ...headers } }),
        );
      };
      try {
        const viewer = await authenticate(request.headers.get('authorization') ?? undefined);
        if (viewer !== undefined) serverContext.viewer = viewer;
        else {
          const error = { message: HINT, extensions: { code: 'UNAUTHENTICATED' } };
          refuse(401, error, { 'www-authenticate': 'Bearer' });
        }
      } catch (error) {
        // It could not be found out: that is our fault, and no reason to throw credentials away.
        const masked = maskError(error);
        refuse(masked.extensions['code'] === 'SERVICE_UNAVAILABLE' ? 503 : 500, masked);
      }
    },
  };
}
