// Who is signed in, and where: yours comes from your own authentication.
export const user = { id: 'demo-user', spaceId: 'demo-space' };
