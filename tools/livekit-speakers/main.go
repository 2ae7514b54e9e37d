// Command livekit-speakers is a crowd in a LiveKit room: every track sends the same Opus packets, encoded beforehand.
//
//	livekit-speakers -url ws://… -key … -secret … -room … -people 4 -tracks 25 sound.opus20
//
// The file holds packets of 20 ms, each after its length (two bytes, big-endian). It is repeated, every track from
// another place. Prints "ready" when all tracks are published, and leaves when standard input ends.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const packetTime = 20 * time.Millisecond

func main() {
	url := flag.String("url", "", "of the server")
	key := flag.String("key", "", "API key")
	secret := flag.String("secret", "", "API secret")
	room := flag.String("room", "", "its name")
	people := flag.Int("people", 1, "participants")
	tracks := flag.Int("tracks", 1, "microphones of each participant")
	muted := flag.Int("muted", 0, "of these, published and muted: nothing is sent")
	flag.Parse()
	packets, err := read(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}
	for person := range *people {
		who := lksdk.ConnectInfo{
			APIKey: *key, APISecret: *secret, RoomName: *room, ParticipantIdentity: fmt.Sprintf("speaker%d", person),
		}
		joined, err := lksdk.ConnectToRoom(*url, who, &lksdk.RoomCallback{}, lksdk.WithAutoSubscribe(false))
		if err != nil {
			log.Fatal(err)
		}
		defer joined.Disconnect()
		for n := range *tracks {
			if err := publish(joined, packets, (person**tracks+n)*37, n < *muted); err != nil {
				log.Fatal(err)
			}
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func read(path string) ([][]byte, error) {
	held, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var packets [][]byte
	for len(held) >= 2 {
		length := int(binary.BigEndian.Uint16(held))
		if len(held) < 2+length {
			break
		}
		packets, held = append(packets, held[2:2+length]), held[2+length:]
	}
	if len(packets) == 0 || len(held) > 0 {
		return nil, fmt.Errorf("%s holds no whole packets", path)
	}
	return packets, nil
}

func publish(room *lksdk.Room, packets [][]byte, first int, muted bool) error {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	track, err := lksdk.NewLocalTrack(codec)
	if err != nil {
		return err
	}
	options := &lksdk.TrackPublicationOptions{Name: "mic", Source: livekit.TrackSource_MICROPHONE, DisableDTX: true}
	publication, err := room.LocalParticipant.PublishTrack(track, options)
	if err != nil {
		return err
	}
	if muted {
		publication.SetMuted(true)
		return nil
	}
	go func() {
		tick := time.NewTicker(packetTime)
		defer tick.Stop()
		for at := first; ; at++ {
			<-tick.C
			sample := media.Sample{Data: packets[at%len(packets)], Duration: packetTime}
			if track.WriteSample(sample, nil) != nil {
				return
			}
		}
	}()
	return nil
}
