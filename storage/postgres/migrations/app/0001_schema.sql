-- The tables of the app as Prisma Migrate makes them on PostgreSQL.
--
-- Printed by Prisma's own schema engine (`prisma migrate diff --from-empty
-- --to-schema … --script`), version 6.19.3 and 7.10.0, which print the same
-- text, less its first statement, CREATE SCHEMA IF NOT EXISTS "public": that one
-- needs CREATE on the database even where the schema exists.
--
-- Neither an id nor updatedAt has a database default: cuid() and @updatedAt are
-- filled in by Prisma Client, so every other writer fills them in itself.

-- CreateEnum
CREATE TYPE "SessionStatus" AS ENUM ('CREATED', 'LIVE', 'ENDED', 'EXPIRED');

-- CreateEnum
CREATE TYPE "ParticipantRole" AS ENUM ('HOST', 'GUEST');

-- CreateEnum
CREATE TYPE "AnalysisStatus" AS ENUM ('PENDING', 'RUNNING', 'DONE', 'FAILED');

-- CreateTable
CREATE TABLE "Space" (
    "id" TEXT NOT NULL,

    CONSTRAINT "Space_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "User" (
    "id" TEXT NOT NULL,

    CONSTRAINT "User_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "VideoSession" (
    "id" TEXT NOT NULL,
    "slug" TEXT NOT NULL,
    "title" TEXT,
    "createdByUserId" TEXT,
    "status" "SessionStatus" NOT NULL DEFAULT 'CREATED',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "startedAt" TIMESTAMP(3),
    "endedAt" TIMESTAMP(3),
    "lastActivityAt" TIMESTAMP(3),
    "spaceId" TEXT NOT NULL,
    "rawTranscriptBlobUrl" TEXT,
    "rawTranscriptSizeBytes" INTEGER,
    "rawTranscriptReadyAt" TIMESTAMP(3),

    CONSTRAINT "VideoSession_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "Participant" (
    "id" TEXT NOT NULL,
    "videoSessionId" TEXT NOT NULL,
    "userId" TEXT,
    "identity" TEXT NOT NULL,
    "name" TEXT,
    "role" "ParticipantRole" NOT NULL DEFAULT 'GUEST',
    "joinedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "leftAt" TIMESTAMP(3),

    CONSTRAINT "Participant_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "TranscriptSegment" (
    "id" TEXT NOT NULL,
    "videoSessionId" TEXT NOT NULL,
    "participantId" TEXT,
    "utteranceId" TEXT NOT NULL,
    "text" TEXT NOT NULL,
    "language" TEXT,
    "isFinal" BOOLEAN NOT NULL DEFAULT false,
    "startedAt" TIMESTAMP(3) NOT NULL,
    "endedAt" TIMESTAMP(3),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "TranscriptSegment_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "TranscriptionUsage" (
    "id" TEXT NOT NULL,
    "videoSessionId" TEXT NOT NULL,
    "participantId" TEXT,
    "userId" TEXT,
    "startedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "endedAt" TIMESTAMP(3),
    "durationSeconds" INTEGER NOT NULL,
    "durationMinutes" INTEGER NOT NULL,
    "audioChunksSent" INTEGER NOT NULL DEFAULT 0,
    "transcriptsReceived" INTEGER NOT NULL DEFAULT 0,
    "finalTranscripts" INTEGER NOT NULL DEFAULT 0,
    "partialTranscripts" INTEGER NOT NULL DEFAULT 0,
    "costPerMinute" DOUBLE PRECISION NOT NULL DEFAULT 0.01,
    "totalCost" DOUBLE PRECISION NOT NULL DEFAULT 0,
    "errorsCount" INTEGER NOT NULL DEFAULT 0,
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,

    CONSTRAINT "TranscriptionUsage_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "SessionAnalysis" (
    "id" TEXT NOT NULL,
    "sessionId" TEXT NOT NULL,
    "status" "AnalysisStatus" NOT NULL DEFAULT 'PENDING',
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMP(3) NOT NULL,
    "summary" TEXT,
    "tasksJson" JSONB,
    "risksJson" JSONB,

    CONSTRAINT "SessionAnalysis_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "VideoSession_slug_key" ON "VideoSession"("slug");

-- CreateIndex
CREATE INDEX "VideoSession_spaceId_idx" ON "VideoSession"("spaceId");

-- CreateIndex
CREATE INDEX "VideoSession_createdByUserId_idx" ON "VideoSession"("createdByUserId");

-- CreateIndex
CREATE INDEX "VideoSession_status_idx" ON "VideoSession"("status");

-- CreateIndex
CREATE INDEX "VideoSession_lastActivityAt_idx" ON "VideoSession"("lastActivityAt");

-- CreateIndex
CREATE INDEX "Participant_videoSessionId_idx" ON "Participant"("videoSessionId");

-- CreateIndex
CREATE UNIQUE INDEX "Participant_videoSessionId_identity_key" ON "Participant"("videoSessionId", "identity");

-- CreateIndex
CREATE INDEX "TranscriptSegment_videoSessionId_idx" ON "TranscriptSegment"("videoSessionId");

-- CreateIndex
CREATE UNIQUE INDEX "TranscriptSegment_videoSessionId_utteranceId_key" ON "TranscriptSegment"("videoSessionId", "utteranceId");

-- CreateIndex
CREATE INDEX "TranscriptionUsage_videoSessionId_idx" ON "TranscriptionUsage"("videoSessionId");

-- CreateIndex
CREATE INDEX "TranscriptionUsage_participantId_idx" ON "TranscriptionUsage"("participantId");

-- CreateIndex
CREATE INDEX "TranscriptionUsage_userId_idx" ON "TranscriptionUsage"("userId");

-- CreateIndex
CREATE INDEX "TranscriptionUsage_createdAt_idx" ON "TranscriptionUsage"("createdAt");

-- CreateIndex
CREATE UNIQUE INDEX "SessionAnalysis_sessionId_key" ON "SessionAnalysis"("sessionId");

-- CreateIndex
CREATE INDEX "SessionAnalysis_sessionId_idx" ON "SessionAnalysis"("sessionId");

-- CreateIndex
CREATE INDEX "SessionAnalysis_status_idx" ON "SessionAnalysis"("status");

-- AddForeignKey
ALTER TABLE "VideoSession" ADD CONSTRAINT "VideoSession_spaceId_fkey" FOREIGN KEY ("spaceId") REFERENCES "Space"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Participant" ADD CONSTRAINT "Participant_videoSessionId_fkey" FOREIGN KEY ("videoSessionId") REFERENCES "VideoSession"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "Participant" ADD CONSTRAINT "Participant_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "TranscriptSegment" ADD CONSTRAINT "TranscriptSegment_videoSessionId_fkey" FOREIGN KEY ("videoSessionId") REFERENCES "VideoSession"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "TranscriptSegment" ADD CONSTRAINT "TranscriptSegment_participantId_fkey" FOREIGN KEY ("participantId") REFERENCES "Participant"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "TranscriptionUsage" ADD CONSTRAINT "TranscriptionUsage_videoSessionId_fkey" FOREIGN KEY ("videoSessionId") REFERENCES "VideoSession"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "TranscriptionUsage" ADD CONSTRAINT "TranscriptionUsage_participantId_fkey" FOREIGN KEY ("participantId") REFERENCES "Participant"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "TranscriptionUsage" ADD CONSTRAINT "TranscriptionUsage_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "SessionAnalysis" ADD CONSTRAINT "SessionAnalysis_sessionId_fkey" FOREIGN KEY ("sessionId") REFERENCES "VideoSession"("id") ON DELETE CASCADE ON UPDATE CASCADE;
