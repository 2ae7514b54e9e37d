import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from '../generated/prisma/client';

const kept = globalThis as unknown as { prisma?: PrismaClient };
/** One for the process: development reloads modules. */
export const prisma = (kept.prisma ??= new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL }) }));
