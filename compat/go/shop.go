// The shop of everack_compat::shop with amqp091-go. It does not recover by itself: each side connects again when NotifyClose tells it,
// as in its documentation's example of a client.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	askEvery     = 25
	prefetch     = 20
	orderPause   = 5 * time.Millisecond
	packPause    = 20 * time.Millisecond
	answerMax    = 2 * time.Second
	connectPause = 300 * time.Millisecond
)

func main() {
	role, url, orders := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.Atoi(orders)
	if err != nil || role != "shop" {
		log.Fatal("shop URL ORDERS")
	}
	go keep("warehouse", url, pack)
	service := &orderService{orders: count}
	go keep("order service", url, service.run)
	select {}
}

// keep calls atWork with a channel of a new connection until it is finished.
func keep(who, url string, atWork func(*amqp.Channel) error) {
	for {
		err := withChannel(url, atWork)
		if err == nil {
			return
		}
		log.Printf("the %s connects again: %v", who, err)
		time.Sleep(connectPause)
	}
}

func withChannel(url string, atWork func(*amqp.Channel) error) error {
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	return atWork(channel)
}

func pack(channel *amqp.Channel) error {
	orders, prices, err := openWarehouse(channel)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for orders != nil || prices != nil {
		select {
		case order, open := <-orders:
			if !open {
				return errors.New("the deliveries ended")
			}
			err = packOne(order)
		case question, open := <-prices:
			if !open {
				return errors.New("the questions ended")
			}
			err = answer(channel, question)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func openWarehouse(channel *amqp.Channel) (orders, prices <-chan amqp.Delivery, err error) {
	if err = channel.ExchangeDeclare("shop", "topic", true, false, false, false, nil); err != nil {
		return
	}
	if _, err = channel.QueueDeclare("shop-warehouse", true, false, false, false, nil); err != nil {
		return
	}
	if err = channel.QueueBind("shop-warehouse", "order.*", "shop", false, nil); err != nil {
		return
	}
	if _, err = channel.QueueDeclare("shop-prices", false, true, false, false, nil); err != nil {
		return
	}
	if err = channel.Qos(prefetch, 0, false); err != nil {
		return
	}
	if orders, err = channel.Consume("shop-warehouse", "", false, false, false, false, nil); err != nil {
		return
	}
	prices, err = channel.Consume("shop-prices", "", false, false, false, false, nil)
	return
}

func packOne(order amqp.Delivery) error {
	mark := "fresh"
	if order.Redelivered {
		mark = "redelivered"
	}
	fmt.Println("got", string(order.Body), mark)
	time.Sleep(packPause)
	if err := order.Ack(false); err != nil {
		return err
	}
	fmt.Println("acked", string(order.Body))
	return nil
}

func answer(channel *amqp.Channel, question amqp.Delivery) error {
	reply := amqp.Publishing{CorrelationId: question.CorrelationId, Body: []byte("9.99")}
	err := channel.PublishWithContext(context.Background(), "", question.ReplyTo, false, false, reply)
	if err != nil {
		return err
	}
	return question.Ack(false)
}

type orderService struct {
	orders, next int
	channel      *amqp.Channel
	closed       chan *amqp.Error
	returned     chan amqp.Return
	confirms     chan amqp.Confirmation
	replyQueue   string
	replies      <-chan amqp.Delivery
}

func (s *orderService) run(channel *amqp.Channel) error {
	if err := s.open(channel); err != nil {
		return err
	}
	for ; s.next < s.orders; s.next++ {
		if s.next%askEvery == 0 {
			if err := s.ask(s.next); err != nil {
				return err
			}
		}
		if err := s.place(s.next); err != nil {
			return err
		}
		time.Sleep(orderPause)
	}
	return nil
}

func (s *orderService) open(channel *amqp.Channel) error {
	s.channel = channel
	s.closed = channel.NotifyClose(make(chan *amqp.Error, 1))
	s.returned = channel.NotifyReturn(make(chan amqp.Return, 1))
	s.confirms = channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	if err := channel.Confirm(false); err != nil {
		return err
	}
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return err
	}
	s.replyQueue = queue.Name
	s.replies, err = channel.Consume(queue.Name, "", true, true, false, false, nil)
	return err
}

func (s *orderService) place(order int) error {
	fmt.Println("sending", order)
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(strconv.Itoa(order))}
	err := s.channel.PublishWithContext(context.Background(), "shop", "order.placed", true, false, message)
	if err != nil {
		return err
	}
	if err := s.confirmed(); err != nil {
		return err
	}
	fmt.Println("confirmed", order)
	return nil
}

// confirmed waits for the one message that is open.
func (s *orderService) confirmed() error {
	select {
	case err := <-s.closed:
		return fmt.Errorf("closed: %w", err)
	case confirm, open := <-s.confirms:
		if !open {
			return errors.New("the confirms ended")
		}
		if !confirm.Ack {
			log.Fatal("the broker refused a message")
		}
	}
	select {
	case message, open := <-s.returned:
		if open {
			log.Fatalf("returned: %s", message.ReplyText)
		}
	default:
	}
	return nil
}

func (s *orderService) ask(order int) error {
	for {
		fmt.Println("asked", order)
		question := amqp.Publishing{ReplyTo: s.replyQueue, CorrelationId: strconv.Itoa(order)}
		err := s.channel.PublishWithContext(context.Background(), "", "shop-prices", false, false, question)
		if err != nil {
			return err
		}
		if err := s.confirmed(); err != nil {
			return err
		}
		there, err := s.answered(order)
		if err != nil {
			return err
		}
		if there {
			fmt.Println("answered", order)
			return nil
		}
	}
}

func (s *orderService) answered(order int) (bool, error) {
	deadline := time.After(answerMax)
	for {
		select {
		case reply, open := <-s.replies:
			if !open {
				return false, errors.New("the replies ended")
			}
			if reply.CorrelationId == strconv.Itoa(order) {
				return true, nil
			}
		case <-deadline:
			return false, nil
		}
	}
}
